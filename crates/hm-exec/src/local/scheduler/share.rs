//! The services that the steps of a chain share: from the first step that runs to the last one that may.

use std::sync::Arc;

use hm_pipeline_ir::StepIndex;

use super::super::decide::Decision;
use super::super::services::{Services, Site};
use super::super::state::Phase;
use super::Scheduler;
use crate::BackendError;

impl Scheduler {
    /// The services of a step that is about to start.
    pub(super) fn services(&mut self, index: StepIndex) -> Result<Option<Services>, BackendError> {
        let run = Arc::clone(&self.run);
        let site = || Site {
            vm: Arc::clone(&run.vm),
            source: Arc::clone(run.views.of(index)),
            sink: self.sink.clone(),
            halt: self.halt.clone(),
            tasks: self.removals.clone(),
        };
        let chain = run.graph().chain_of(index);
        run.services(index, site, || Arc::clone(self.chains.entry(chain).or_default()))
    }

    /// A step is done: its chain's services stop unless another step of the chain runs or may still run.
    pub(super) fn let_go(&mut self, index: StepIndex) {
        let graph = self.run.graph();
        let chain = graph.chain_of(index);
        if !self.chains.contains_key(&chain) {
            return;
        }
        let before = |index: &StepIndex| {
            graph
                .parent(*index)
                .filter(|parent| graph.chain_of(*parent) == chain)
        };
        let first = std::iter::successors(Some(index), before).last();
        let steps = std::iter::successors(first, |index| graph.children(*index).first().copied());
        let mut tainted = false;
        for state in steps.map(|index| &self.steps[index.as_usize()]) {
            match (&state.phase, &state.decided.decision) {
                (Phase::Done, _) => tainted = state.tainted.is_some(),
                (Phase::Running(_), _) | (Phase::Waiting, Decision::Run(_)) => return,
                (Phase::Waiting, Decision::Hit(_) | Decision::Unneeded) if tainted => return,
                (Phase::Waiting, Decision::Resumed(_)) => tainted = true,
                (Phase::Waiting, Decision::Hit(_) | Decision::Unneeded | Decision::Skip(_)) => {}
            }
        }
        self.chains.remove(&chain);
    }
}
