use super::step::one_line;
use crate::run_id::short_run_id;
use crate::state::{Artifacts, BuildState, Tests};

/// How many lines tell of artifacts.
const LINES: usize = 10;

/// What the build left for people: what its test reports say, and its artifacts, a line for each pattern that
/// names some.
pub(crate) fn artifacts(state: &BuildState, hints: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(said) = state.tests() {
        lines.push(tests(&said));
    }
    let all = || state.steps().iter().filter(|step| step.artifacts.count > 0);
    let count: u64 = all().map(|step| step.artifacts.count).sum();
    if count == 0 {
        return lines;
    }
    let bytes = all().fold(0, |bytes: u64, step| bytes.saturating_add(step.artifacts.bytes));
    let run_id = state.run_id().filter(|_| hints);
    let out = run_id.map(|run_id| format!("; hm artifacts {}", short_run_id(run_id)));
    let files = if count == 1 { "file" } else { "files" };
    lines.push(format!(
        "artifacts: {count} {files}, {}{}",
        size(bytes),
        out.unwrap_or_default()
    ));
    let several = all().nth(1).is_some();
    let (mut listed, heads) = (0, lines.len());
    for step in all() {
        for (name, files, bytes) in named(&step.artifacts) {
            if lines.len() - heads == LINES {
                break;
            }
            listed += files;
            let mut line = format!("  {:>10}  {}", size(bytes), one_line(name));
            if files > 1 {
                line.push_str(&format!(": {files} files"));
            }
            if several {
                line.push_str(&format!(" ({})", one_line(&step.key)));
            }
            lines.push(line);
        }
    }
    if count > listed {
        lines.push(format!("  and {} more", count - listed));
    }
    lines
}

/// What is listed of a step: each pattern by what it has named, or files where that is not known.
fn named(artifacts: &Artifacts) -> Vec<(&str, u64, u64)> {
    if artifacts.patterns.is_empty() {
        let files = artifacts.listed.iter();
        return files.map(|file| (file.path.as_str(), 1, file.bytes)).collect();
    }
    let patterns = artifacts.patterns.iter();
    patterns
        .map(|pattern| (pattern.pattern.as_str(), pattern.count, pattern.bytes))
        .collect()
}

/// What test reports say: `tests: 214 passed, 2 failed, 1 skipped`.
pub(crate) fn tests(tests: &Tests) -> String {
    let mut said = format!("tests: {} passed", tests.passed());
    for (n, what) in [(tests.failed, "failed"), (tests.skipped, "skipped")] {
        if n > 0 {
            said.push_str(&format!(", {n} {what}"));
        }
    }
    said
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}
