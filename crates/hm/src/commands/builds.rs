//! `hm builds`: past runs.

use super::table;
use crate::cli::BuildsArgs;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::record::{Run, RunRecord};

/// Lists past runs, the newest first.
///
/// # Errors
/// When the records cannot be read, or the output cannot be written.
pub fn builds(context: &Context, args: &BuildsArgs) -> Result<u8> {
    let root = if args.all { None } else { context.maybe_root() };
    let mut found: Vec<(Run, RunRecord)> = Vec::new();
    for run in context.runs()?.runs()? {
        if found.len() == args.limit {
            break;
        }
        // One that another hm is removing just now cannot be read any more.
        let Ok(record) = run.record() else { continue };
        if root.is_none_or(|root| record.repo_root == root) {
            found.push((run, record));
        }
    }
    let text = if args.json {
        as_json(&found)?
    } else {
        as_table(&found, args.all)
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    if found.is_empty() && !args.json {
        context.printer.note("no run is recorded; `hm run` makes one");
    }
    Ok(exit::PASSED)
}

fn as_table(found: &[(Run, RunRecord)], all: bool) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut head = vec!["RUN", "PIPELINE", "STATUS", "WHEN", "TOOK", "BRANCH"];
    if all {
        head.push("REPOSITORY");
    }
    let mut rows = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (run, record) in found {
        let took = record
            .finished_at
            .map(|end| (end - record.started_at).num_milliseconds());
        let mut row = vec![
            run.short_id().to_owned(),
            record.pipeline.clone(),
            status(run, record).to_owned(),
            record.started_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            took.map_or_else(|| "-".into(), table::duration),
            record.branch.clone().unwrap_or_else(|| "-".into()),
        ];
        if all {
            row.push(record.repo_root.display().to_string());
        }
        rows.push(row);
    }
    table::columns(&rows)
}

fn as_json(found: &[(Run, RunRecord)]) -> Result<String> {
    let mut text = String::new();
    for (run, record) in found {
        let line = serde_json::json!({
            "run_id": record.run_id,
            "pipeline": record.pipeline,
            "status": status(run, record).replace(' ', "_"),
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "repo_root": record.repo_root,
            "branch": record.branch,
            "commit": record.commit,
            "message": record.message,
            "backend": record.backend,
        });
        text.push_str(&serde_json::to_string(&line).map_err(|error| Failure::Output(error.into()))?);
        text.push('\n');
    }
    Ok(text)
}

/// How a run ended, or that it has not, or never will.
fn status(run: &Run, record: &RunRecord) -> &'static str {
    match record.status {
        Some(status) => status.word(),
        None if run.is_running() => "running",
        None => "killed",
    }
}
