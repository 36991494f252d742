//! What a plan needs that not every backend can do: refused before anything starts.

use hm_pipeline_ir::{PipelineGraph, Step, StepIndex};
use hm_vm::Features;

use super::run::network;
use super::select::{Role, Selection};
use crate::{BackendError, Result, RunOptions, RunRequest};

/// Refuses a step that `backend` cannot run as the plan has it.
pub(super) fn check(
    request: &RunRequest,
    selection: &Selection,
    backend: &str,
    features: Features,
) -> Result<()> {
    let graph = &request.plan.graph;
    for (index, step) in graph.steps() {
        if selection.roles[index.as_usize()] == Role::Outside {
            continue;
        }
        if let Some(missing) = missing(step, features) {
            return Err(BackendError::Rejected {
                code: "unsupported".into(),
                message: format!(
                    "step `{}` has {missing}, which the backend {backend} cannot give on this machine: `hm doctor` says \
                     why; take another backend, or leave that out of the step",
                    step.key
                ),
            });
        }
        one_network(graph, index, &request.options)?;
    }
    Ok(())
}

fn missing(step: &Step, features: Features) -> Option<&'static str> {
    let needs = [
        (!step.services.is_empty(), features.pods, "services"),
        (!step.secrets.is_empty(), features.secrets, "secrets"),
        (!step.caches.is_empty(), features.caches, "cache directories"),
        (!step.artifacts.is_empty(), features.exports, "artifacts"),
        (
            step.limits.memory.is_some(),
            features.limits_memory,
            "a memory limit",
        ),
        (
            step.limits.cpus.is_some(),
            features.limits_cpus,
            "a limit on processors",
        ),
        (
            step.limits.pids.is_some(),
            features.limits_pids,
            "a limit on processes",
        ),
        (step.limits.disk.is_some(), features.limits_disk, "a disk limit"),
    ];
    let lacks = needs.into_iter().find(|(needed, can, _)| *needed && !can);
    lacks.map(|(_, _, what)| what)
}

/// The steps that share a chain's services share their network, which is one thing to all of them.
fn one_network(graph: &PipelineGraph, index: StepIndex, options: &RunOptions) -> Result<()> {
    let Some((first, service)) = graph.chain_services(index).first().copied() else {
        return Ok(());
    };
    let (step, other) = (graph.step(index), graph.step(first));
    if network(step, options) == network(other, options) {
        return Ok(());
    }
    Err(BackendError::Rejected {
        code: "two_networks".into(),
        message: format!(
            "step `{}` shares the service `{}` with step `{}` of its chain, and so its network, but asks for another \
             `network`: give both the same",
            step.key, service.name, other.key
        ),
    })
}
