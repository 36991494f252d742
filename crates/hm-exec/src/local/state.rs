//! Where each step of a run stands.

use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::SnapshotId;
use tokio::time::Instant;
use uuid::Uuid;

use super::decide::Decided;
use crate::{StepResultSummary, StepStatus};

/// Why a step is tainted that failed softly, or builds in one that did.
pub(super) const FAILED_SOFTLY: &str = "a step that it builds in failed softly";
/// Why a step is tainted that an earlier run left, perhaps from other source, or that builds in such a one.
pub(super) const LEFT_EARLIER: &str = "it builds in what an earlier run left";

/// How far a step has come. It only ever moves on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for others, or for a slot.
    Waiting,
    /// It has been started, at this time.
    Running(Instant),
    /// It has come to its end.
    Done,
}

/// One step of a run.
#[derive(Debug)]
pub(super) struct StepState {
    pub(super) id: Uuid,
    pub(super) decided: Decided,
    pub(super) phase: Phase,
    /// How many steps it still waits for.
    pub(super) waiting_for: usize,
    /// Why nothing cached stands for what builds in it, nor what it leaves for any key.
    pub(super) tainted: Option<&'static str>,
    pub(super) snapshot: Option<SnapshotId>,
    pub(super) status: StepStatus,
    pub(super) exit_code: Option<i32>,
    pub(super) duration_ms: u64,
}

impl StepState {
    pub(super) const fn new(id: Uuid, decided: Decided, waiting_for: usize) -> Self {
        Self {
            id,
            decided,
            phase: Phase::Waiting,
            waiting_for,
            tainted: None,
            snapshot: None,
            status: StepStatus::Skipped,
            exit_code: None,
            duration_ms: 0,
        }
    }

    pub(super) fn summary(&self, key: &str) -> StepResultSummary {
        StepResultSummary {
            step_id: self.id,
            key: key.to_owned(),
            status: self.status,
            exit_code: self.exit_code,
            duration_ms: self.duration_ms,
            snapshot: self.snapshot.as_ref().map(|id| SnapshotRef(id.0.clone())),
        }
    }
}

/// Why a run does not go on to its natural end. The first one stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    Canceled,
    TimedOut,
    /// This step failed.
    Failed(String),
    /// This machine could not do its part.
    Broken(String),
}

impl Cause {
    /// Why a step that has not begun never will.
    pub(super) fn skip_reason(&self) -> String {
        match self {
            Self::Canceled => "the build was canceled".into(),
            Self::TimedOut => "the build ran into its timeout".into(),
            Self::Failed(step) => format!("canceled because `{step}` failed"),
            Self::Broken(what) => format!("the build could not go on: {what}"),
        }
    }
}
