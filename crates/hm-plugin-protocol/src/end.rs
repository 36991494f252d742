//! How steps and builds end, and what an exit code means where nothing else says it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The exit code of a step or a build that ran into its timeout, as `timeout(1)` has it.
pub const TIMED_OUT: i32 = 124;
/// The exit code of a step or a build that was canceled, as a shell reports an interrupt.
pub const CANCELED: i32 = 130;
/// The exit code in the `step_end` of a step that never ran. No command ends with it, and a reader that knows no status
/// takes it for a failure rather than for a pass.
pub const SKIPPED: i32 = -1;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepEndStatus {
    /// It exited with 0.
    Passed,
    /// It exited with another code, or was killed by a limit.
    Failed,
    /// It failed, and the plan says that the build goes on as if it had passed.
    SoftFailed,
    /// It was stopped because the build was canceled or another step failed.
    Canceled,
    /// It ran into its own timeout, or the pipeline's.
    TimedOut,
    /// It never started; its exit code is [`SKIPPED`].
    Skipped,
}

impl StepEndStatus {
    /// How a step ended whose `step_end` has this status and exit code. Everybody who reads an end asks this: without a
    /// status, as earlier programs send it, 0 is a pass, 124 a timeout and 130 a cancellation.
    #[must_use]
    pub const fn of(status: Option<Self>, exit_code: i32) -> Self {
        match (status, exit_code) {
            (Some(status), _) => status,
            (None, 0) => Self::Passed,
            (None, TIMED_OUT) => Self::TimedOut,
            (None, CANCELED) => Self::Canceled,
            (None, _) => Self::Failed,
        }
    }

    /// Whether what depends on the step may go on.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Passed | Self::SoftFailed)
    }
}

/// A status of a newer version says no more than the exit code.
pub(crate) fn known_status<'de, D>(deserializer: D) -> Result<Option<StepEndStatus>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Status {
        Known(StepEndStatus),
        Newer(serde::de::IgnoredAny),
    }
    Ok(match Option::<Status>::deserialize(deserializer)? {
        Some(Status::Known(status)) => Some(status),
        Some(Status::Newer(_)) | None => None,
    })
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildEndStatus {
    /// Every step that had to pass has passed.
    Passed,
    /// A step failed, or the build could not be run.
    Failed,
    /// It was stopped.
    Canceled,
    /// It ran into its timeout.
    TimedOut,
}

impl BuildEndStatus {
    /// How a build ended whose `build_end` has this exit code.
    #[must_use]
    pub const fn of(exit_code: i32) -> Self {
        match exit_code {
            0 => Self::Passed,
            TIMED_OUT => Self::TimedOut,
            CANCELED => Self::Canceled,
            _ => Self::Failed,
        }
    }

    /// The exit code that `build_end` has: 0 passed, 1 failed, 124 timed out, 130 canceled.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Canceled => CANCELED,
            Self::TimedOut => TIMED_OUT,
        }
    }
}
