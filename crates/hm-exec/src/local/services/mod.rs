//! What runs beside a step: its services and its chain's, in a pod that the step is in too.
//!
//! ```text
//! Chain  --- the services of a chain's scope, from the first step that needs them to the last that runs
//! Beside --- one attempt of a step: the chain's services and its own, all of them in one pod
//! Group  --- services that start at once and stop at once
//! Service -- a machine, its command, its health check (`health`) and its log (`log`)
//! Pod    --- closed when nobody holds it any more and the last machine in it is gone
//! ```
//!
//! Whoever drops a group stops its services: on a panic, too, none is left. What is then still to be removed, tasks of
//! [`Site::tasks`] remove; a build waits for these at its end.

mod beside;
mod chain;
mod group;
mod health;
mod log;
mod pod;
mod service;
mod specs;
mod words;

use std::sync::Arc;

use hm_pipeline_ir::{HealthCheck, Shell};
use hm_source::Source;
use hm_vm::{Cancel, ExecRequest, PodRequest, ResolvedImage, VmBackend};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(super) use beside::{Beside, Readiness};
pub(super) use chain::Chain;

use super::sink::Sink;

/// Where services run.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) vm: Arc<dyn VmBackend>,
    pub(super) source: Arc<Source>,
    pub(super) sink: Sink,
    /// The build's end. Services outlive the grace of their steps, which may still use them.
    pub(super) halt: Cancel,
    /// What is done behind the steps' backs.
    pub(super) tasks: TaskTracker,
}

/// A service that can be started.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) image: ResolvedImage,
    /// Its command, but for the pod.
    pub(super) request: ExecRequest,
    /// What runs its command and its health check.
    pub(super) shell: Option<Shell>,
    pub(super) health: Option<HealthCheck>,
}

/// All the services of one step.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) site: Site,
    pub(super) step_id: Uuid,
    pub(super) pod: PodRequest,
    /// Those of the chain that the step reaches, and what keeps them from one step to the next.
    pub(super) chain: Option<(Arc<Chain>, Vec<Spec>)>,
    /// Those that live as long as one attempt of the step.
    pub(super) own: Vec<Spec>,
}
