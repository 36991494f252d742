//! Which steps come next, and which never will.

use std::cmp::Reverse;
use std::sync::Arc;

use hm_pipeline_ir::StepIndex;
use hm_plugin_protocol::events::BuildEvent;
use hm_vm::SnapshotId;

use super::super::artifacts::Listed;
use super::super::decide::Decision;
use super::super::state::{Cause, LEFT_EARLIER, Phase};
use super::Scheduler;
use crate::{BackendError, StepStatus};

impl Scheduler {
    /// Tells the steps that wait for these that they wait no longer, and so on along what need not run.
    pub(super) async fn settle(&mut self, mut settled: Vec<StepIndex>) {
        let run = Arc::clone(&self.run);
        while let Some(index) = settled.pop() {
            for later in run.graph().dependents(index) {
                let state = &mut self.steps[later.as_usize()];
                state.waiting_for = state.waiting_for.saturating_sub(1);
                if state.waiting_for == 0 && state.phase == Phase::Waiting {
                    self.release(*later, &mut settled).await;
                }
            }
        }
    }

    /// Looks at a step that waits for nobody: it queues for a slot, or is done without one.
    pub(super) async fn release(&mut self, index: StepIndex, settled: &mut Vec<StepIndex>) {
        let parent = self.run.graph().parent(index);
        let tainted = parent.and_then(|parent| self.steps[parent.as_usize()].tainted);
        let rank = self.ranks[index.as_usize()];
        let state = &mut self.steps[index.as_usize()];
        state.tainted = tainted;
        match &state.decided.decision {
            decision @ (Decision::Hit(snapshot) | Decision::Resumed(snapshot))
                if tainted.is_none() || matches!(decision, Decision::Resumed(_)) =>
            {
                if matches!(decision, Decision::Resumed(_)) {
                    state.tainted.get_or_insert(LEFT_EARLIER);
                }
                let snapshot = snapshot.clone();
                state.phase = Phase::Done;
                state.status = StepStatus::CacheHit;
                state.snapshot = Some(snapshot.clone());
                let key = state.decided.parts.as_ref().map(|parts| parts.key().to_string());
                let step_id = state.id;
                let (artifacts, more_artifacts, artifact_patterns) = self.artifacts(index, &snapshot);
                let event = BuildEvent::StepCacheHit {
                    step_id,
                    key: key.unwrap_or_default(),
                    tag: snapshot.0,
                    artifacts,
                    more_artifacts,
                    artifact_patterns,
                };
                self.sink.send(event).await;
                self.let_go(index);
                settled.push(index);
            }
            Decision::Unneeded if tainted.is_none() => {
                let reason = "its snapshot is gone, but all that builds in it is cached";
                self.skip(index, reason.into()).await;
                settled.push(index);
            }
            // Skipped before anything began.
            Decision::Skip(_) => {}
            _ => self.ready.push((rank, Reverse(index))),
        }
    }

    /// The artifacts of the step that made a snapshot, as this run's.
    fn artifacts(&self, index: StepIndex, snapshot: &SnapshotId) -> Listed {
        let Some(collector) = self.run.collector(index) else {
            return Listed::default();
        };
        match collector.recall(snapshot) {
            Ok(artifacts) => collector.listed(&artifacts),
            Err(error) => {
                tracing::warn!(
                    step = collector.step,
                    error,
                    "a cached step's artifacts cannot be listed"
                );
                Listed::default()
            }
        }
    }

    /// Stops what runs and skips what has not begun.
    pub(super) async fn cut(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.cut_rest().await;
    }

    pub(super) fn broken(&mut self, error: BackendError) {
        self.cause.get_or_insert_with(|| Cause::Broken(error.to_string()));
        self.error.get_or_insert(error);
    }

    pub(super) async fn cut_rest(&mut self) {
        self.halt.terminate();
        self.ready.clear();
        let run = Arc::clone(&self.run);
        let Some(cause) = self.cause.clone() else { return };
        for (index, _) in run.graph().steps() {
            if self.steps[index.as_usize()].phase == Phase::Waiting {
                self.skip(index, cause.skip_reason()).await;
            }
        }
    }

    pub(super) async fn skip(&mut self, index: StepIndex, reason: String) {
        let canceled = self.cause == Some(Cause::Canceled);
        let state = &mut self.steps[index.as_usize()];
        state.phase = Phase::Done;
        state.status = if canceled {
            StepStatus::Canceled
        } else {
            StepStatus::Skipped
        };
        let event = BuildEvent::skipped(state.id, reason);
        self.sink.send(event).await;
        self.let_go(index);
    }
}
