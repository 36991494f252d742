use hm_plugin_protocol::executor::SnapshotRef;
use uuid::Uuid;

use super::artifacts::{Artifacts, Tests};
use super::services::ServiceOutput;
use super::tail::Tail;

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It exited with 0.
    Passed,
    /// It failed.
    Failed,
    /// It failed, and the build goes on as if it had passed.
    SoftFailed,
    /// It was stopped.
    Canceled,
    /// It ran into a timeout.
    TimedOut,
    /// Its snapshot was there.
    CacheHit,
    /// It will not run.
    Skipped,
}

impl Phase {
    /// Whether nothing more will come of the step.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether the step makes the build fail.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

/// A step, as its events have told it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Step {
    /// Identifies the step within the run.
    pub step_id: Uuid,
    /// The step's key in the plan.
    pub key: String,
    /// What to call it before a person.
    pub display_name: String,
    /// The command that it runs.
    pub command: Option<String>,
    /// The step whose snapshot it starts from.
    pub parent_key: Option<String>,
    /// The chain that it belongs to.
    pub chain_idx: Option<usize>,
    /// Where it is.
    pub phase: Phase,
    /// The image that it started from.
    pub image: Option<String>,
    /// Why it ran although it has a cache policy.
    pub cache_miss: Option<String>,
    /// Which attempt this is or was, counted from 1.
    pub attempt: u32,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// What a person should know about its end, or why it was skipped.
    pub message: Option<String>,
    /// What it left.
    pub snapshot: Option<SnapshotRef>,
    /// Its newest output. It is forgotten when the step has ended well.
    pub tail: Tail,
    /// The newest output of its services, in the order in which they were first heard. It is forgotten when the step has ended well.
    pub services: Vec<ServiceOutput>,
    /// What it left for people.
    pub artifacts: Artifacts,
    /// What the test reports among these say.
    pub tests: Option<Tests>,
}

impl Step {
    pub(super) fn new(step_id: Uuid, key: String, display_name: String) -> Self {
        Self {
            step_id,
            key,
            display_name,
            command: None,
            parent_key: None,
            chain_idx: None,
            phase: Phase::Queued,
            image: None,
            cache_miss: None,
            attempt: 1,
            exit_code: None,
            duration_ms: None,
            message: None,
            snapshot: None,
            tail: Tail::default(),
            services: Vec::new(),
            artifacts: Artifacts::default(),
            tests: None,
        }
    }
}
