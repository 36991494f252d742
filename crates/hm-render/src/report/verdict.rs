use super::duration::duration;
use crate::state::{BuildState, Counts, Verdict};
use crate::terminal::{Paint, Sign, Style};

/// The last line: how the build ended, in what time, and what became of its steps.
pub(crate) fn verdict(state: &BuildState, style: Style) -> String {
    if is_submitted(state) {
        return style.paint(Paint::Good, "submitted").to_string();
    }
    let (paint, said) = match state.verdict() {
        Some(Verdict::Passed) => (Paint::Good, "passed"),
        Some(Verdict::Failed) => (Paint::Bad, "failed"),
        Some(Verdict::Canceled) => (Paint::Warn, "canceled"),
        Some(Verdict::TimedOut) => (Paint::Bad, "timed out"),
        None => (Paint::Warn, "the events stop before the build's end"),
    };
    let preposition = if state.verdict() == Some(Verdict::Passed) {
        "in"
    } else {
        "after"
    };
    let time = state
        .duration_ms()
        .map(|ms| format!(" {preposition} {}", duration(ms)))
        .unwrap_or_default();
    format!("{}{time}: {}", style.paint(paint, said), tally(&state.counts()))
}

/// A server has the build, and nothing more was to be heard of it.
fn is_submitted(state: &BuildState) -> bool {
    state.verdict().is_none() && state.build().is_some() && state.counts().known() == 0
}

/// The sign before the last line.
pub(crate) fn verdict_sign(state: &BuildState) -> Sign {
    match state.verdict() {
        _ if is_submitted(state) => Sign::Good,
        Some(Verdict::Passed) => Sign::Good,
        Some(Verdict::Failed | Verdict::TimedOut) => Sign::Bad,
        Some(Verdict::Canceled) | None => Sign::Warn,
    }
}

/// How far the build is: `3 of 10 done, 2 running, 1 cached`.
pub(crate) fn progress(state: &BuildState) -> String {
    let counts = state.counts();
    let known = state.plan().map_or(0, |plan| plan.step_count).max(counts.known());
    let mut said = format!("{} of {known} done, {} running", counts.over(), counts.running);
    for (n, what) in [
        (counts.failed + counts.timed_out, "failed"),
        (counts.cached, "cached"),
    ] {
        if n > 0 {
            said.push_str(&format!(", {n} {what}"));
        }
    }
    said
}

fn tally(counts: &Counts) -> String {
    let parts: Vec<String> = [
        (counts.failed, "failed"),
        (counts.timed_out, "timed out"),
        (counts.passed, "ran and passed"),
        (counts.soft_failed, "failed softly"),
        (counts.cached, "cached"),
        (counts.canceled, "canceled"),
        (counts.skipped, "skipped"),
        (counts.running + counts.queued, "never ended"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{n} {what}"))
    .collect();
    if parts.is_empty() {
        "no step".to_owned()
    } else {
        parts.join(", ")
    }
}
