//! Jobs: the steps of one build.

use chrono::{DateTime, Utc};
use hm_plugin_protocol::events::StepEndStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{BuildId, JobId};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No agent has taken the build.
    Pending,
    /// It waits for its turn.
    Scheduled,
    /// An agent has it. Our agents go from scheduled to running at once.
    Assigned,
    /// Its command runs.
    Running,
    /// It exited with 0, or a snapshot stood in for it.
    Passed,
    /// It exited with another code.
    Failed,
    /// It did not run.
    Skipped,
    /// It is being stopped.
    Canceling,
    /// It was stopped.
    Canceled,
    /// It ran into its timeout and is being stopped.
    TimingOut,
    /// It ran into its timeout.
    TimedOut,
}

impl JobState {
    const ALL: [Self; 11] = [
        Self::Pending,
        Self::Scheduled,
        Self::Assigned,
        Self::Running,
        Self::Passed,
        Self::Failed,
        Self::Skipped,
        Self::Canceling,
        Self::Canceled,
        Self::TimingOut,
        Self::TimedOut,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::TimingOut => "timing_out",
            Self::TimedOut => "timed_out",
        }
    }

    /// The inverse of [`JobState::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it stays so within an attempt.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Passed | Self::Failed | Self::Skipped | Self::Canceled | Self::TimedOut
        )
    }
}

/// What a step's end makes of its job.
impl From<StepEndStatus> for JobState {
    fn from(status: StepEndStatus) -> Self {
        match status {
            StepEndStatus::Passed => Self::Passed,
            StepEndStatus::Canceled => Self::Canceled,
            StepEndStatus::TimedOut => Self::TimedOut,
            StepEndStatus::Skipped => Self::Skipped,
            _ => Self::Failed,
        }
    }
}

/// One step of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Identifies the job, whatever the attempt.
    pub id: JobId,
    /// The build.
    pub build: BuildId,
    /// The step's key in the plan.
    pub key: String,
    /// What to call it before a person.
    pub name: String,
    /// The command.
    pub command: String,
    /// The jobs that it waits for.
    pub depends_on: Vec<JobId>,
    /// Where it stands.
    pub state: JobState,
    /// Its command's exit code.
    pub exit_code: Option<i32>,
    /// It failed, and the build went on as if it had passed.
    pub soft_failed: bool,
    /// What a person should know about its end.
    pub message: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its command began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A job to be.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Identifies the job.
    pub id: JobId,
    /// The step's key in the plan.
    pub key: String,
    /// What to call it before a person.
    pub name: String,
    /// The command.
    pub command: String,
    /// The jobs that it waits for.
    pub depends_on: Vec<JobId>,
}

/// What an event changes about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChange {
    /// The job.
    pub id: JobId,
    /// Where it stands now.
    pub state: JobState,
    /// Its command's exit code.
    pub exit_code: Option<i32>,
    /// It failed, and the build goes on as if it had passed.
    pub soft_failed: bool,
    /// What a person should know about its end.
    pub message: Option<String>,
}
