//! What a person is told of services that did not do what they were started for.

use hm_pipeline_ir::HealthCheck;
use hm_vm::{ExecOutcome, KillReason};

/// It ended before it could be used.
pub(super) fn ended_early(name: &str, outcome: &ExecOutcome) -> String {
    let hint = if outcome.status.code() == 0 {
        "its command must stay in the foreground, and not start a daemon and return"
    } else {
        "its log says why"
    };
    format!(
        "service `{name}` {} before it could be used: {hint}",
        how(outcome)
    )
}

/// It ended although a step could still use it.
pub(super) fn ended(name: &str, outcome: &ExecOutcome) -> String {
    format!("service `{name}` {} before the step did", how(outcome))
}

/// Its health check did not pass in time.
pub(super) fn late(name: &str, health: &HealthCheck, last: Option<&str>) -> String {
    let last = last.map(|last| format!(" (the last try: {last})"));
    format!(
        "service `{name}` could not be used within {} s: its health check `{}` never passed{}; look at its log, mend \
         the check, or give it a longer timeout_seconds",
        health.timeout.as_secs_f64(),
        first_line(&health.cmd),
        last.unwrap_or_default()
    )
}

fn how(outcome: &ExecOutcome) -> String {
    let notes: String = outcome.notes.iter().map(|note| format!(" ({note})")).collect();
    let code = outcome.status.code();
    match outcome.killed {
        Some(KillReason::OutOfMemory | KillReason::DiskFull) => format!("was killed{notes}"),
        _ => format!("ended with exit code {code}{notes}"),
    }
}

fn first_line(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    let mut text: String = line.chars().take(60).collect();
    if text.len() < command.trim().len() {
        text.push('…');
    }
    text
}
