//! The end of a started step, and what it means for the rest.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hm_pipeline_ir::StepIndex;
use hm_plugin_protocol::events::{BuildEvent, CANCELED, StepEndStatus, TIMED_OUT};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_snapshots::SnapshotOrigin;
use hm_vm::VmError;
use tokio::task::{Id, JoinError};

use super::super::artifacts::Listed;
use super::super::snapshots::Left;
use super::super::state::{Cause, FAILED_SOFTLY, Phase};
use super::super::step::{Ending, Finished};
use super::Scheduler;
use crate::{BackendError, StepStatus};

impl Scheduler {
    pub(super) async fn joined(&mut self, joined: Result<Id, JoinError>) {
        match joined {
            Ok(id) => {
                self.owners.remove(&id);
            }
            Err(error) => {
                let Some(index) = self.owners.remove(&error.id()) else {
                    return;
                };
                if !matches!(self.steps[index.as_usize()].phase, Phase::Running(_)) {
                    tracing::warn!(%error, "a step's task failed after the step's end");
                    return;
                }
                self.running -= 1;
                let key = &self.run.graph().step(index).key;
                let words = format!(
                    "the task of step `{key}` panicked: {}; this is a bug in hm",
                    panic_words(error)
                );
                self.end(index, StepEndStatus::Failed, 1, Some(words.clone()))
                    .await;
                self.broken(BackendError::Other(words));
                self.cut_rest().await;
            }
        }
    }

    pub(super) async fn report(&mut self, index: StepIndex, report: Result<Finished, VmError>) {
        if !matches!(self.steps[index.as_usize()].phase, Phase::Running(_)) {
            return;
        }
        self.running -= 1;
        match report {
            Ok(finished) => self.finished(index, finished).await,
            Err(error) => {
                let mut words = error.to_string();
                if matches!(error, VmError::SnapshotNotFound(_)) {
                    words.push_str(", although it was when the build began: run it again");
                }
                self.end(index, StepEndStatus::Failed, 1, Some(words)).await;
                let error = BackendError::Step {
                    step: self.run.graph().step(index).key.to_string(),
                    source: error,
                };
                self.broken(error);
                self.cut_rest().await;
            }
        }
    }

    async fn finished(&mut self, index: StepIndex, mut finished: Finished) {
        let run = Arc::clone(&self.run);
        let step = run.graph().step(index);
        let (status, exit_code) = match finished.ending {
            Ending::Passed => (StepEndStatus::Passed, 0),
            Ending::Stopped if self.is_late() => (StepEndStatus::TimedOut, TIMED_OUT),
            Ending::Stopped => (StepEndStatus::Canceled, CANCELED),
            Ending::Failed | Ending::TimedOut if step.soft_fail => {
                (StepEndStatus::SoftFailed, finished.exit_code)
            }
            Ending::Failed => (StepEndStatus::Failed, finished.exit_code),
            Ending::TimedOut => (StepEndStatus::TimedOut, finished.exit_code),
        };
        if finished.ending == Ending::Stopped && status == StepEndStatus::TimedOut {
            finished
                .message
                .get_or_insert_with(|| Cause::TimedOut.skip_reason());
        }
        let state = &mut self.steps[index.as_usize()];
        if status == StepEndStatus::SoftFailed {
            state.tainted = Some(FAILED_SOFTLY);
        }
        state.snapshot.clone_from(&finished.snapshot);
        if let Some(snapshot) = finished.snapshot.take() {
            let passed =
                status == StepEndStatus::Passed && step.cache.is_cacheable() && state.tainted.is_none();
            self.keeper.keep(Left {
                snapshot,
                stands_for: state.decided.parts.clone().filter(|_| passed),
                slot: if passed { run.slot(step) } else { String::new() },
                origin: SnapshotOrigin {
                    repository: run.request.repo_root.display().to_string(),
                    pipeline: run.request.pipeline_slug.clone(),
                    step: step.key.to_string(),
                },
            });
        }
        self.end_with(
            index,
            status,
            exit_code,
            finished.message.clone(),
            finished.artifacts,
        )
        .await;
        match finished.ending {
            _ if matches!(status, StepEndStatus::Passed | StepEndStatus::SoftFailed) => {
                self.settle(vec![index]).await;
            }
            Ending::Stopped => {
                if self.cause.is_none() {
                    self.cut(if self.is_late() {
                        Cause::TimedOut
                    } else {
                        Cause::Canceled
                    })
                    .await;
                }
            }
            _ => self.failed(index, exit_code, finished.message).await,
        }
    }

    fn is_late(&self) -> bool {
        match &self.cause {
            Some(cause) => *cause == Cause::TimedOut,
            None => self.late.load(Ordering::Acquire),
        }
    }

    async fn failed(&mut self, index: StepIndex, exit_code: i32, message: Option<String>) {
        self.any_failed = true;
        let run = Arc::clone(&self.run);
        let key = run.graph().step(index).key.to_string();
        let event = BuildEvent::ChainFailed {
            chain_idx: run.graph().chain_of(index),
            failed_step_id: self.steps[index.as_usize()].id,
            failed_step_key: key.clone(),
            exit_code,
            message: message.unwrap_or_else(|| format!("`{key}` exited with {exit_code}")),
            ts: chrono::Utc::now(),
        };
        self.sink.send(event).await;
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            for later in run.graph().dependents(next) {
                if self.steps[later.as_usize()].phase == Phase::Waiting {
                    self.skip(*later, format!("`{key}` failed")).await;
                    open.push(*later);
                }
            }
        }
        if !run.request.options.keep_going && self.cause.is_none() {
            self.cut(Cause::Failed(key)).await;
        }
    }

    pub(super) async fn end(
        &mut self,
        index: StepIndex,
        status: StepEndStatus,
        exit_code: i32,
        message: Option<String>,
    ) {
        self.end_with(index, status, exit_code, message, Listed::default())
            .await;
    }

    async fn end_with(
        &mut self,
        index: StepIndex,
        status: StepEndStatus,
        exit_code: i32,
        message: Option<String>,
        (artifacts, more_artifacts, artifact_patterns): Listed,
    ) {
        let state = &mut self.steps[index.as_usize()];
        if let Phase::Running(since) = state.phase {
            state.duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        state.phase = Phase::Done;
        state.exit_code = Some(exit_code);
        state.status = StepStatus::from(status);
        let event = BuildEvent::StepEnd {
            step_id: state.id,
            exit_code,
            duration_ms: state.duration_ms,
            snapshot: state.snapshot.as_ref().map(|id| SnapshotRef(id.0.clone())),
            status: Some(status),
            message,
            artifacts,
            more_artifacts,
            artifact_patterns,
        };
        self.sink.send(event).await;
        self.let_go(index);
    }
}

fn panic_words(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => crate::handle::panic_words(payload.as_ref()),
        Err(error) => error.to_string(),
    }
}
