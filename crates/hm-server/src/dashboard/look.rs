//! How states look: a word for the style sheet, a sign, and a word for people. Never the colour alone.

use crate::model::{BuildState, JobState};

/// How a state looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// `data-state`.
    pub(super) state: &'static str,
    pub(super) sign: &'static str,
    pub(super) label: &'static str,
}

pub(super) const fn build(state: BuildState) -> Look {
    let (sign, label) = match state {
        BuildState::Scheduled => ("○", "Queued"),
        BuildState::Running => ("▶", "Running"),
        BuildState::Failing => ("▶", "Failing"),
        BuildState::Passed => ("✓", "Passed"),
        BuildState::Failed => ("✕", "Failed"),
        BuildState::Canceling => ("■", "Canceling"),
        BuildState::Canceled => ("■", "Canceled"),
    };
    Look {
        state: state.as_str(),
        sign,
        label,
    }
}

pub(super) const fn job(state: JobState, soft_failed: bool, cached: bool) -> Look {
    let (sign, label) = match state {
        JobState::Pending => ("○", "Waiting"),
        JobState::Scheduled | JobState::Assigned => ("○", "Queued"),
        JobState::Running => ("▶", "Running"),
        JobState::Passed if cached => ("✓", "Cached"),
        JobState::Passed => ("✓", "Passed"),
        JobState::Failed if soft_failed => ("!", "Failed, allowed"),
        JobState::Failed => ("✕", "Failed"),
        JobState::Skipped => ("–", "Skipped"),
        JobState::Canceling => ("■", "Canceling"),
        JobState::Canceled => ("■", "Canceled"),
        JobState::TimingOut => ("◷", "Timing out"),
        JobState::TimedOut => ("◷", "Timed out"),
    };
    Look {
        state: state.as_str(),
        sign,
        label,
    }
}

/// A tab's picture: a disc in the state's colour, its sign cut out.
pub(super) fn icon(state: &str) -> String {
    let (colour, path) = match state {
        "passed" => ("2da44e", "M4.5 8.2 7 10.7l4.6-5.2"),
        "failed" | "failing" => ("d1242f", "M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4"),
        "running" => ("bf8700", "M6.4 4.9l5 3.1-5 3.1z"),
        "canceling" | "canceled" => ("6e7781", "M5.5 5.5h5v5h-5z"),
        _ => ("6e7781", "M8 4.5v3.7l2.4 1.6"),
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7.5' \
         fill='%23{colour}'/%3E%3Cpath d='{path}' fill='none' stroke='%23fff' stroke-width='1.8'/%3E%3C/svg%3E"
    )
}
