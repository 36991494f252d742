//! The scheduler: one task that owns the state of a run. Steps run as tasks of their own and report back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hm_pipeline_ir::StepIndex;
use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::VmError;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::decide::{Decided, Decision};
use super::keeper::Keeper;
use super::run::Run;
use super::sink::Sink;
use super::snapshots::Left;
use super::state::{Cause, Phase, StepState};
use super::step::{CANCELED, Ending, Finished, Job, Start, TIMED_OUT};
use crate::{BackendError, StepStatus};

type Report = (StepIndex, Result<Finished, VmError>);

/// The state of a run.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) run: Arc<Run>,
    pub(super) sink: Sink,
    pub(super) steps: Vec<StepState>,
    pub(super) cause: Option<Cause>,
    pub(super) error: Option<BackendError>,
    pub(super) any_failed: bool,
    keeper: Keeper,
    /// Those that wait for a slot: the one with the longest way behind it first, then the plan's order.
    ready: BinaryHeap<(u32, Reverse<StepIndex>)>,
    ranks: Vec<u32>,
    slots: usize,
    running: usize,
    /// A step had to run.
    pub(super) prepared: bool,
    tasks: JoinSet<()>,
    owners: HashMap<Id, StepIndex>,
    reports: mpsc::UnboundedReceiver<Report>,
    report_to: mpsc::UnboundedSender<Report>,
    /// Canceled by whoever started the run, by the timeout, and by the first failure.
    halt: CancellationToken,
    late: Arc<AtomicBool>,
}

impl Scheduler {
    pub(super) fn new(
        run: Arc<Run>,
        sink: Sink,
        keeper: Keeper,
        slots: usize,
        cancel: &CancellationToken,
        decided: Vec<Decided>,
    ) -> Self {
        let graph = run.graph();
        let steps = graph
            .steps()
            .zip(decided)
            .map(|((index, _), decided)| {
                StepState::new(run.step_id(index), decided, graph.dependencies(index).len())
            })
            .collect();
        let mut ranks = vec![0; graph.len()];
        for index in graph.topological().iter().rev() {
            let longest = graph
                .dependents(*index)
                .iter()
                .map(|later| ranks[later.as_usize()] + 1)
                .max();
            ranks[index.as_usize()] = longest.unwrap_or(0);
        }
        let (report_to, reports) = mpsc::unbounded_channel();
        Self {
            run,
            sink,
            steps,
            cause: None,
            error: None,
            any_failed: false,
            keeper,
            ready: BinaryHeap::new(),
            ranks,
            slots,
            running: 0,
            prepared: false,
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            reports,
            report_to,
            halt: cancel.child_token(),
            late: Arc::default(),
        }
    }

    /// Runs every step to its end. What it leaves undone, [`Scheduler::close`] ends.
    pub(super) async fn drive(&mut self, timeout: Option<Duration>) {
        let _timer = timeout.map(|limit| self.timer(limit));
        let run = Arc::clone(&self.run);
        let mut settled = Vec::new();
        for index in run.graph().topological() {
            if let Decision::Skip(reason) = &self.steps[index.as_usize()].decided.decision {
                let reason = reason.clone();
                self.skip(*index, reason).await;
                settled.push(*index);
            } else if run.graph().dependencies(*index).is_empty() {
                self.release(*index, &mut settled).await;
            }
        }
        self.settle(settled).await;
        while self.running > 0 || !self.ready.is_empty() {
            self.fill().await;
            let halt = self.halt.clone();
            tokio::select! {
                biased;
                () = halt.cancelled(), if self.cause.is_none() => {
                    let late = self.late.load(Ordering::Acquire);
                    self.cut(if late { Cause::TimedOut } else { Cause::Canceled }).await;
                }
                () = self.sink.closed(), if self.cause.is_none() => self.cut(Cause::Canceled).await,
                Some((index, report)) = self.reports.recv() => self.report(index, report).await,
                Some(joined) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.joined(joined.map(|(id, ())| id)).await;
                }
            }
        }
    }

    /// Ends, by an event, every step that has none yet, and waits until nothing of the run is left.
    pub(super) async fn close(&mut self, broken: Option<BackendError>) {
        if let Some(error) = broken {
            self.broken(error);
        }
        self.halt.cancel();
        while let Some(joined) = self.tasks.join_next_with_id().await {
            if let Err(error) = joined {
                tracing::warn!(%error, "a step's task did not end well");
            }
        }
        let run = Arc::clone(&self.run);
        for (index, _) in run.graph().steps() {
            match self.steps[index.as_usize()].phase {
                Phase::Done => {}
                Phase::Waiting => {
                    let cause = self.cause.get_or_insert(Cause::Canceled);
                    let reason = cause.skip_reason();
                    self.skip(index, reason).await;
                }
                Phase::Running(_) => self.end(index, StepEndStatus::Canceled, CANCELED, None).await,
            }
        }
        self.keeper.finish().await;
    }

    /// Cancels the run after a while, however busy the scheduler is.
    fn timer(&self, limit: Duration) -> AbortOnDrop {
        let (late, halt) = (Arc::clone(&self.late), self.halt.clone());
        AbortOnDrop(tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if !halt.is_cancelled() {
                late.store(true, Ordering::Release);
                halt.cancel();
            }
        }))
    }

    /// Starts steps while there are slots. A machine that is being destroyed holds its slot only when there
    /// are as many of these as slots.
    async fn fill(&mut self) {
        while self.cause.is_none() && self.running < self.slots && self.tasks.len() < 2 * self.slots {
            let Some((_, Reverse(index))) = self.ready.pop() else {
                break;
            };
            self.start(index).await;
        }
    }

    async fn start(&mut self, index: StepIndex) {
        let run = Arc::clone(&self.run);
        let step = run.graph().step(index);
        let start = match self.start_point(index) {
            Ok(start) => start,
            Err(error) => {
                self.broken(error);
                self.cut_rest().await;
                return;
            }
        };
        if !self.prepared {
            self.prepared = true;
            run.vm.prepare(self.slots);
        }
        let state = &mut self.steps[index.as_usize()];
        state.phase = Phase::Running(Instant::now());
        let event = BuildEvent::StepStart {
            step_id: state.id,
            runner: run.request.plan.summary.default_runner.clone(),
            image: match &start {
                Start::Image(image) => Some(image.reference.to_string()),
                Start::Snapshot(_) => None,
            },
            cache_miss: match &state.decided.decision {
                Decision::Run(miss) => miss.clone(),
                _ => Some("a step that it builds in failed softly".into()),
            },
        };
        let job = Job {
            vm: Arc::clone(&run.vm),
            source: Arc::clone(&run.source),
            sink: self.sink.clone(),
            step_id: state.id,
            start,
            request: run.exec(step),
            timeout: step.timeout,
            retries: step.retries,
            has_git: run.has_git(),
        };
        self.sink.send(event).await;
        let (reports, cancel) = (self.report_to.clone(), self.halt.clone());
        let task = self.tasks.spawn(async move {
            match job.run(&cancel).await {
                Ok((finished, vm)) => {
                    let _ = reports.send((index, Ok(finished)));
                    // Off the critical path: the next step begins meanwhile.
                    if let Err(error) = vm.destroy().await {
                        tracing::warn!(%error, "a step's machine could not be removed; the next run tries again");
                    }
                }
                Err(error) => {
                    let _ = reports.send((index, Err(error)));
                }
            }
        });
        self.owners.insert(task.id(), index);
        self.running += 1;
    }

    fn start_point(&self, index: StepIndex) -> Result<Start, BackendError> {
        let graph = self.run.graph();
        if let Some(parent) = graph.parent(index) {
            let snapshot = self.steps[parent.as_usize()].snapshot.clone();
            let (child, parent) = (&graph.step(index).key, &graph.step(parent).key);
            return snapshot.map(Start::Snapshot).ok_or_else(|| {
                BackendError::Other(format!(
                    "step `{child}` cannot start: `{parent}` left no snapshot"
                ))
            });
        }
        let name = self.run.image_name(graph.step(index));
        let image = self
            .run
            .images
            .get(&name)
            .map(|image| Start::Image(image.resolved.clone()));
        image
            .ok_or_else(|| BackendError::Other(format!("image {name} was not resolved; this is a bug in hm")))
    }

    async fn joined(&mut self, joined: Result<Id, JoinError>) {
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

    async fn report(&mut self, index: StepIndex, report: Result<Finished, VmError>) {
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

    async fn finished(&mut self, index: StepIndex, finished: Finished) {
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
        let state = &mut self.steps[index.as_usize()];
        state.tainted |= status == StepEndStatus::SoftFailed;
        state.snapshot.clone_from(&finished.snapshot);
        if let Some(snapshot) = finished.snapshot {
            let passed = status == StepEndStatus::Passed && step.cache.is_cacheable() && !state.tainted;
            self.keeper.keep(Left {
                snapshot,
                stands_for: state.decided.parts.clone().filter(|_| passed),
                slot: if passed { run.slot(step) } else { String::new() },
            });
        }
        self.end(index, status, exit_code, finished.message.clone()).await;
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

    /// Stops what runs and skips what has not begun.
    async fn cut(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.cut_rest().await;
    }

    fn broken(&mut self, error: BackendError) {
        self.cause.get_or_insert_with(|| Cause::Broken(error.to_string()));
        self.error.get_or_insert(error);
    }

    async fn cut_rest(&mut self) {
        self.halt.cancel();
        self.ready.clear();
        let run = Arc::clone(&self.run);
        let Some(cause) = self.cause.clone() else { return };
        for (index, _) in run.graph().steps() {
            if self.steps[index.as_usize()].phase == Phase::Waiting {
                self.skip(index, cause.skip_reason()).await;
            }
        }
    }

    /// Tells the steps that wait for these that they wait no longer, and so on along what need not run.
    async fn settle(&mut self, mut settled: Vec<StepIndex>) {
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
    async fn release(&mut self, index: StepIndex, settled: &mut Vec<StepIndex>) {
        let parent = self.run.graph().parent(index);
        let tainted = parent.is_some_and(|parent| self.steps[parent.as_usize()].tainted);
        let rank = self.ranks[index.as_usize()];
        let state = &mut self.steps[index.as_usize()];
        state.tainted |= tainted;
        match &state.decided.decision {
            Decision::Hit(snapshot) if !tainted => {
                let snapshot = snapshot.clone();
                state.phase = Phase::Done;
                state.status = StepStatus::CacheHit;
                state.snapshot = Some(snapshot.clone());
                let key = state.decided.parts.as_ref().map(|parts| parts.key().to_string());
                let event = BuildEvent::StepCacheHit {
                    step_id: state.id,
                    key: key.unwrap_or_default(),
                    tag: snapshot.0,
                };
                self.sink.send(event).await;
                settled.push(index);
            }
            Decision::Unneeded if !tainted => {
                let reason = "its snapshot is gone, but all that builds in it is cached";
                self.skip(index, reason.into()).await;
                settled.push(index);
            }
            // Skipped before anything began.
            Decision::Skip(_) => {}
            _ => self.ready.push((rank, Reverse(index))),
        }
    }

    async fn skip(&mut self, index: StepIndex, reason: String) {
        let canceled = self.cause == Some(Cause::Canceled);
        let state = &mut self.steps[index.as_usize()];
        state.phase = Phase::Done;
        state.status = if canceled {
            StepStatus::Canceled
        } else {
            StepStatus::Skipped
        };
        let event = BuildEvent::StepSkipped {
            step_id: state.id,
            key: self.run.graph().step(index).key.to_string(),
            reason,
        };
        self.sink.send(event).await;
    }

    async fn end(
        &mut self,
        index: StepIndex,
        status: StepEndStatus,
        exit_code: i32,
        message: Option<String>,
    ) {
        let state = &mut self.steps[index.as_usize()];
        if let Phase::Running(since) = state.phase {
            state.duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        state.phase = Phase::Done;
        state.exit_code = Some(exit_code);
        state.status = match status {
            StepEndStatus::Passed | StepEndStatus::SoftFailed => StepStatus::Passed,
            StepEndStatus::Canceled => StepStatus::Canceled,
            StepEndStatus::TimedOut => StepStatus::TimedOut,
            _ => StepStatus::Failed,
        };
        let event = BuildEvent::StepEnd {
            step_id: state.id,
            exit_code,
            duration_ms: state.duration_ms,
            snapshot: state.snapshot.as_ref().map(|id| SnapshotRef(id.0.clone())),
            status: Some(status),
            message,
        };
        self.sink.send(event).await;
    }
}

/// A task that ends with whoever holds this.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_words(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => crate::handle::panic_words(payload.as_ref()),
        Err(error) => error.to_string(),
    }
}
