use std::borrow::Cow;

use super::duration::duration;
use crate::state::{Phase, Step};
use crate::terminal::{Paint, Sign, Style, safe_name};

/// A name or a phrase of others, made safe to stand within a line of ours.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) {
        let joined = text
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        return Cow::Owned(safe_name(&joined).into_owned());
    }
    safe_name(text)
}

/// A step's key, and its display name where that says more.
pub(crate) fn label(step: &Step, style: Style) -> String {
    let key = one_line(&step.key);
    if step.display_name.is_empty() || step.display_name == step.key {
        return style.paint(Paint::Bold, key).to_string();
    }
    format!(
        "{} ({})",
        style.paint(Paint::Bold, key),
        one_line(&step.display_name)
    )
}

/// The line about a step that is over. `with_miss` adds why it ran, where the line about its start was not shown.
pub(crate) fn ended(step: &Step, style: Style, with_miss: bool) -> String {
    let mut line = format!("{} {}", label(step, style), outcome(step));
    if let (true, Some(reason)) = (with_miss && step.phase != Phase::Canceled, &step.cache_miss) {
        let reason = format!("(not cached: {})", one_line(reason));
        line.push_str(&format!(" {}", style.paint(Paint::Dim, reason)));
    }
    line
}

/// The sign before the line about a step that is over.
pub(crate) fn ended_sign(step: &Step) -> Sign {
    match step.phase {
        Phase::Passed | Phase::CacheHit => Sign::Good,
        Phase::Failed | Phase::TimedOut => Sign::Bad,
        Phase::SoftFailed => Sign::Warn,
        _ => Sign::Skip,
    }
}

/// How a step ended, without its name: `passed in 1.2s`.
fn outcome(step: &Step) -> String {
    let code = step.exit_code.unwrap_or_default();
    let mut said = match step.phase {
        Phase::Queued => "waits".to_owned(),
        Phase::Running => "runs".to_owned(),
        Phase::Passed => "passed".to_owned(),
        Phase::Failed => format!("failed with exit code {code}"),
        Phase::SoftFailed => format!("failed softly with exit code {code}"),
        Phase::Canceled => "canceled".to_owned(),
        Phase::TimedOut => "timed out".to_owned(),
        Phase::CacheHit => "cached".to_owned(),
        Phase::Skipped => "skipped".to_owned(),
    };
    if let Some(ms) = step.duration_ms {
        let preposition = if step.phase == Phase::Passed {
            "in"
        } else {
            "after"
        };
        said.push_str(&format!(" {preposition} {}", duration(ms)));
    }
    if step.attempt > 1 {
        said.push_str(&format!(", attempt {}", step.attempt));
    }
    if let (Some(message), false) = (&step.message, step.phase.is_failure()) {
        said.push_str(&format!(": {}", one_line(message)));
    }
    said
}

/// The line about a step that is tried again.
pub(crate) fn retried(step: &Step, exit_code: i32, style: Style) -> String {
    format!(
        "{} failed with exit code {exit_code}, attempt {} begins",
        label(step, style),
        step.attempt
    )
}

/// The line about a step that has started.
pub(crate) fn started(step: &Step, style: Style) -> String {
    let image = step
        .image
        .as_ref()
        .map(|image| format!(" from {}", one_line(image)))
        .unwrap_or_default();
    let reason = step
        .cache_miss
        .as_ref()
        .map(|reason| format!(" (not cached: {})", one_line(reason)));
    format!(
        "{} started{image}{}",
        label(step, style),
        reason.unwrap_or_default()
    )
}
