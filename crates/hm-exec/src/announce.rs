//! What every backend tells of a plan before anything of it runs.

use hm_pipeline_ir::StepIndex;
use hm_plugin_protocol::events::BuildEvent;
use uuid::Uuid;

use crate::RunRequest;

/// A step's identity within the run, the same for whoever asks.
pub(crate) fn step_id(request: &RunRequest, index: StepIndex) -> Uuid {
    let position = index.as_usize() as u128 + 1;
    Uuid::from_u128(request.run_id.as_u128() ^ position)
}

/// One `step_queued` for each step, in the plan's order.
pub(crate) fn queued(request: &RunRequest) -> impl Iterator<Item = BuildEvent> {
    let graph = &request.plan.graph;
    graph.steps().map(move |(index, step)| BuildEvent::StepQueued {
        step_id: step_id(request, index),
        key: step.key.to_string(),
        chain_idx: graph.chain_of(index),
        parent_key: graph
            .parent(index)
            .map(|parent| graph.step(parent).key.to_string()),
        display_name: step.display_name(),
        command: Some(step.cmd.clone()),
    })
}
