//! The scheduler's loop, and how it comes to its end.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hm_plugin_protocol::events::{CANCELED, StepEndStatus};

use super::super::decide::Decision;
use super::super::state::{Cause, Phase};
use super::Scheduler;
use crate::{BackendError, StepStatus};

impl Scheduler {
    /// Runs every step to its end. What it leaves undone, [`Scheduler::close`] ends.
    pub(in crate::local) async fn drive(&mut self, timeout: Option<Duration>) {
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
                () = halt.terminated(), if self.cause.is_none() => {
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
    pub(in crate::local) async fn close(&mut self, broken: Option<BackendError>) {
        match broken {
            Some(error) => {
                self.broken(error);
                self.halt.kill();
            }
            None => self.halt.terminate(),
        }
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
        self.chains.clear();
        self.removals.close();
        self.removals.wait().await;
        self.keeper.finish().await;
    }

    /// Whether every step passed, now or earlier.
    pub(in crate::local) fn all_passed(&self) -> bool {
        let passed = [StepStatus::Passed, StepStatus::CacheHit];
        self.steps.iter().all(|step| passed.contains(&step.status))
    }

    /// Cancels the run after a while, however busy the scheduler is.
    fn timer(&self, limit: Duration) -> AbortOnDrop {
        let (late, halt) = (Arc::clone(&self.late), self.halt.clone());
        AbortOnDrop(tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if !halt.is_terminated() {
                late.store(true, Ordering::Release);
                halt.terminate();
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
}

/// A task that ends with whoever holds this.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
