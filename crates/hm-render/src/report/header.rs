use super::failure::short_run_id;
use super::step::one_line;
use crate::state::BuildState;

/// What is about to run: a line about the run, one about its source, one for each notice.
pub(crate) fn header(state: &BuildState) -> Vec<String> {
    let header = state.header();
    let mut run = vec![match (state.run_id(), &header.pipeline) {
        (Some(run_id), Some(pipeline)) => format!("run {} of {}", short_run_id(run_id), one_line(pipeline)),
        (Some(run_id), None) => format!("run {}", short_run_id(run_id)),
        (None, _) => "run".to_owned(),
    }];
    if let Some(plan) = state.plan() {
        run.push(count(plan.step_count as u64, "step"));
    }
    if let Some(parallelism) = header.parallelism {
        run.push(format!("{parallelism} at once"));
    }
    if let Some(backend) = &header.backend {
        run.push(format!("on {}", one_line(backend)));
    }
    if let Some(image) = &header.default_image {
        run.push(format!("image {}", one_line(image)));
    }
    let mut lines = vec![run.join(", ")];
    if let Some(files) = header.source_files {
        let files = count(files, "file");
        lines.push(match header.source_changed {
            Some(0) => format!("source: {files}, unchanged"),
            Some(changed) => format!("source: {files}, {changed} brought in"),
            None => format!("source: {files}"),
        });
    }
    lines.extend(
        header
            .notices
            .iter()
            .map(|notice| format!("note: {}", one_line(notice))),
    );
    lines
}

fn count(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}
