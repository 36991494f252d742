//! Starting a step.

use std::collections::BTreeSet;
use std::sync::Arc;

use hm_pipeline_ir::StepIndex;
use tokio::time::Instant;

use super::super::decide::Decision;
use super::super::run::Start;
use super::super::state::Phase;
use super::super::step::Job;
use super::Scheduler;
use crate::BackendError;

impl Scheduler {
    pub(super) async fn start(&mut self, index: StepIndex) {
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
        let services = match self.services(index) {
            Ok(services) => services,
            Err(error) => {
                self.broken(error);
                self.cut_rest().await;
                return;
            }
        };
        if !self.prepared {
            self.prepared = true;
            run.vm.prepare(self.slots.min(self.at_once()));
        }
        let state = &mut self.steps[index.as_usize()];
        state.phase = Phase::Running(Instant::now());
        let cache_miss = match &state.decided.decision {
            Decision::Run(miss) => miss.clone(),
            _ => state.tainted.map(Into::into),
        };
        let job = Job {
            vm: Arc::clone(&run.vm),
            source: Arc::clone(run.views.of(index)),
            sink: self.sink.clone(),
            step_id: state.id,
            runner: run.request.plan.summary.default_runner.clone(),
            start,
            request: run.exec(step),
            timeout: step.timeout,
            retries: step.retries,
            soft_fail: step.soft_fail,
            services,
            has_git: run.views.has_git(index),
            artifacts: run.collector(index),
            late: Arc::clone(&self.late),
            canceled: self.canceled.clone(),
        };
        self.sink.send(job.started(cache_miss, None)).await;
        let (reports, cancel) = (self.report_to.clone(), self.halt.clone());
        let task = self.tasks.spawn(async move {
            let ended = job.run(&cancel).await;
            // Its hold on the chain's services ends before the scheduler hears of its end.
            drop(job);
            match ended {
                Ok((finished, vm)) => {
                    let _ = reports.send((index, Ok(finished)));
                    // Off the critical path: the next step begins meanwhile.
                    if let Some(vm) = vm
                        && let Err(error) = vm.destroy().await
                    {
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

    /// The most steps of the plan that can still run at once: a chain's run one after another.
    fn at_once(&self) -> usize {
        let graph = self.run.graph();
        let to_run = graph.steps().filter(|(index, _)| {
            let state = &self.steps[index.as_usize()];
            state.phase != Phase::Done && matches!(state.decided.decision, Decision::Run(_))
        });
        let chains: BTreeSet<usize> = to_run.map(|(index, _)| graph.chain_of(index)).collect();
        chains.len().max(1)
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
        self.run.start_image(graph.step(index))
    }
}
