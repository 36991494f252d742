//! One build from its first event to its last.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use hm_pipeline_ir::PipelineGraph;
use hm_plugin_protocol::events::{BuildEvent, BuildRef, RunHeader, SCHEMA_VERSION};
use hm_snapshots::Budget;
use hm_source::SourceStore;
use hm_vm::Cancel;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cleaner::Cleaner;
use super::decide::{Decided, Decision, decide};
use super::keeper::Keeper;
use super::run::Run;
use super::scheduler::Scheduler;
use super::sink::Sink;
use super::state::{Cause, Phase};
use super::watched;
use crate::handle::panic_words;
use crate::{BackendError, BuildOutcome, BuildStatus, Result, announce};

/// A build that is about to run.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) backend: String,
    pub(super) run: Arc<Run>,
    pub(super) sink: Sink,
    pub(super) cancel: Cancel,
    pub(super) slots: usize,
    pub(super) budget: Option<Budget>,
    pub(super) image_budget: Option<u64>,
    pub(super) sources: Arc<SourceStore>,
}

impl Build {
    /// Runs the build to its end. `build_end` is its last event, whatever happens.
    pub(super) async fn run(self) -> Result<BuildOutcome> {
        let (started_at, since) = (Utc::now(), Instant::now());
        let cancel = self.cancel.clone();
        let cleaner = Cleaner::start(
            Arc::clone(&self.run.vm),
            Arc::clone(&self.sources),
            Arc::clone(&self.run.snapshots),
            self.budget,
            self.image_budget,
        );
        self.announce(started_at).await;
        let scheduled = self.schedule(cleaner.grown()).await;
        let (status, scheduler) = match scheduled {
            Ok(done) => done,
            Err(error) => {
                self.skip_all(&error).await;
                self.finish(BuildStatus::Failed, since).await;
                cleaner.finish(false, &cancel).await;
                return Err(self.masked(error));
            }
        };
        self.finish(status, since).await;
        cleaner.finish(scheduler.prepared, &cancel).await;
        if let Some(error) = scheduler.error {
            return Err(self.masked(error));
        }
        let graph = self.run.graph();
        let steps = graph.steps().zip(&scheduler.steps);
        Ok(BuildOutcome {
            build: self.reference(),
            status,
            steps: steps
                .map(|((_, step), state)| state.summary(step.key.as_str()))
                .collect(),
            started_at,
            finished_at: Utc::now(),
            watch_url: None,
        })
    }

    /// The events that come before anything runs.
    async fn announce(&self, started_at: DateTime<Utc>) {
        let run = &self.run;
        let request = &run.request;
        let mut notices = run.vm.notices();
        notices.extend(run.views.whole().notes().map(str::to_owned));
        notices.extend(watched::unmatched(run.graph(), run.views.plain()));
        let header = RunHeader {
            pipeline: Some(request.pipeline_slug.clone()),
            backend: Some(self.backend.clone()),
            default_image: Some(run.vm.default_image().to_string()),
            images: run.images.values().map(|image| image.pinned()).collect(),
            parallelism: Some(self.slots),
            source_files: Some(run.views.plain().files()),
            source_changed: Some(run.views.plain().brought_in()),
            source_id: Some(run.views.whole().id().to_owned()),
            prepare_ms: None,
            notices,
        };
        let start = BuildEvent::BuildStart {
            run_id: request.run_id,
            plan: request.plan.summary.clone(),
            started_at,
            schema_version: Some(SCHEMA_VERSION),
            header: Some(header),
        };
        self.sink.send(start).await;
        let accepted = BuildEvent::BuildAccepted {
            build: self.reference(),
            watch_url: None,
        };
        self.sink.send(accepted).await;
        for queued in announce::queued(request) {
            self.sink.send(queued).await;
        }
    }

    async fn schedule(&self, grown: Arc<Notify>) -> Result<(BuildStatus, Scheduler)> {
        let (run, request) = (&self.run, &self.run.request);
        // A backend that has to look into snapshots to decide may take a while.
        let decided = self.cancel.run_until_terminated(decide(run)).await;
        let cut = decided.is_none().then_some(Cause::Canceled);
        let decided = decided.unwrap_or_else(|| Ok(undecided(run.graph())))?;
        let keeper = Keeper::new(Arc::clone(&run.snapshots), grown);
        let mut scheduler = Scheduler::new(
            Arc::clone(run),
            self.sink.clone(),
            keeper,
            self.slots,
            &self.cancel,
            decided,
        );
        scheduler.cause = cut;
        let timeout = [run.graph().timeout(), request.options.timeout]
            .into_iter()
            .flatten()
            .min();
        let driven = AssertUnwindSafe(scheduler.drive(timeout)).catch_unwind().await;
        let broken = driven.err().map(|payload| {
            let words = panic_words(payload.as_ref());
            BackendError::Other(format!("the scheduler panicked: {words}; this is a bug in hm"))
        });
        scheduler.close(broken).await;
        debug_assert!(scheduler.steps.iter().all(|step| step.phase == Phase::Done));
        let status = match scheduler.cause {
            // A limit that nothing ran into: the last step ended in time, and was heard of late.
            Some(Cause::TimedOut) if scheduler.all_passed() => BuildStatus::Passed,
            Some(Cause::Canceled) => BuildStatus::Canceled,
            Some(Cause::TimedOut) => BuildStatus::TimedOut,
            Some(Cause::Failed(_) | Cause::Broken(_)) => BuildStatus::Failed,
            None if scheduler.any_failed => BuildStatus::Failed,
            None => BuildStatus::Passed,
        };
        Ok((status, scheduler))
    }

    /// Ends every step of a build that broke before any of them began.
    async fn skip_all(&self, error: &BackendError) {
        for (index, _) in self.run.graph().steps() {
            let reason = format!("the build could not go on: {error}");
            let skipped = BuildEvent::skipped(self.run.step_id(index), reason);
            self.sink.send(skipped).await;
        }
    }

    /// The error as anybody may read it.
    fn masked(&self, error: BackendError) -> BackendError {
        match self.run.scrubber.text(&error.to_string()) {
            Cow::Borrowed(_) => error,
            Cow::Owned(text) => BackendError::Other(text),
        }
    }

    async fn finish(&self, status: BuildStatus, since: Instant) {
        let event = BuildEvent::BuildEnd {
            exit_code: status.exit_code(),
            duration_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.sink.send(event).await;
    }

    fn reference(&self) -> BuildRef {
        BuildRef {
            run_id: self.run.request.run_id,
            number: None,
            org: None,
            pipeline: self.run.request.pipeline_slug.clone(),
        }
    }
}

/// What becomes of the steps of a build that is canceled before it is decided what becomes of them.
fn undecided(graph: &PipelineGraph) -> Vec<Decided> {
    let skipped = |_| Decided {
        decision: Decision::Skip(Cause::Canceled.skip_reason()),
        parts: None,
    };
    graph.steps().map(skipped).collect()
}
