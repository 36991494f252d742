//! How a build ended.

use chrono::{DateTime, Utc};
use hm_plugin_protocol::events::{BuildEndStatus, BuildRef, StepEndStatus};
use hm_plugin_protocol::executor::SnapshotRef;
use uuid::Uuid;

/// The headline verdict. A process exit code is the CLI's projection of it, not the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildStatus {
    /// Every step that had to pass has passed.
    Passed,
    /// A step failed.
    Failed,
    /// It was canceled.
    Canceled,
    /// The build ran into its timeout. A step's own timeout makes the build `Failed`.
    TimedOut,
    /// A server has taken it, and nobody here waits for its verdict: [`crate::RunOptions::watch`] is off. Its events end
    /// without a `build_end`, for it has not ended.
    Submitted,
}

impl BuildStatus {
    /// The verdict as `build_end` has it: 0 passed, 1 failed, 130 canceled, 124 timed out. A build that was submitted has
    /// none yet, and 0 says that this was done.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Passed | Self::Submitted => BuildEndStatus::Passed.exit_code(),
            Self::Failed => BuildEndStatus::Failed.exit_code(),
            Self::Canceled => BuildEndStatus::Canceled.exit_code(),
            Self::TimedOut => BuildEndStatus::TimedOut.exit_code(),
        }
    }
}

impl From<BuildEndStatus> for BuildStatus {
    fn from(status: BuildEndStatus) -> Self {
        match status {
            BuildEndStatus::Passed => Self::Passed,
            BuildEndStatus::Failed => Self::Failed,
            BuildEndStatus::Canceled => Self::Canceled,
            BuildEndStatus::TimedOut => Self::TimedOut,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepStatus {
    /// It ran and passed, or failed softly.
    Passed,
    /// It ran and failed.
    Failed,
    /// It never ran.
    Skipped,
    /// It was stopped, or never ran because the build was canceled.
    Canceled,
    /// Its snapshot was there.
    CacheHit,
    /// It ran into a timeout.
    TimedOut,
}

impl From<StepEndStatus> for StepStatus {
    fn from(status: StepEndStatus) -> Self {
        match status {
            StepEndStatus::Passed | StepEndStatus::SoftFailed => Self::Passed,
            StepEndStatus::Skipped => Self::Skipped,
            StepEndStatus::Canceled => Self::Canceled,
            StepEndStatus::TimedOut => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

/// One step's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepResultSummary {
    /// Identifies the step within the run.
    pub step_id: Uuid,
    /// Its key in the plan.
    pub key: String,
    /// How it ended.
    pub status: StepStatus,
    /// The command's exit code, when it ran.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The snapshot it left, or found in the cache.
    pub snapshot: Option<SnapshotRef>,
}

/// The end of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutcome {
    /// Which build.
    pub build: BuildRef,
    /// The verdict.
    pub status: BuildStatus,
    /// Every step of the plan, in the plan's order.
    pub steps: Vec<StepResultSummary>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// Where it can be watched in a browser.
    pub watch_url: Option<String>,
}
