//! What one run is made of: fixed from its start to its end, and shared by all its tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use hm_pipeline_ir::{PipelineGraph, Service, Step, StepIndex};
use hm_plugin_protocol::events::PinnedImage;
use hm_vm::{
    Cancel, ExecRequest, ImageConfig, ImageReference, Limits, Network, ResolvedImage, SnapshotId, Vm,
    VmBackend, VmError,
};
use uuid::Uuid;

use super::artifacts::{ArtifactStore, Collector};
use super::caches;
use super::command;
use super::patience::in_patience;
use super::scrub::Scrubber;
use super::secrets::give_secrets;
use super::select::Selection;
use super::snapshots::Snapshots;
use super::views::Views;
use crate::{BackendError, RunOptions, RunRequest};

/// An image that root steps or services start from.
#[derive(Debug)]
pub(super) struct Image {
    /// As the plan, or the backend's default, names it.
    pub(super) name: String,
    /// What it is on this machine.
    pub(super) resolved: ResolvedImage,
    /// What it says about how it is run, where a service runs its own command.
    pub(super) config: ImageConfig,
}

impl Image {
    /// As the run's header tells it.
    pub(super) fn pinned(&self) -> PinnedImage {
        PinnedImage {
            name: self.name.clone(),
            digest: self.resolved.digest.clone(),
        }
    }
}

/// What a step starts from.
#[derive(Debug, Clone)]
pub(super) enum Start {
    Image(ResolvedImage),
    Snapshot(SnapshotId),
}

impl Start {
    /// Makes the machine; nothing where `cancel` has ended that.
    pub(super) async fn machine(
        &self,
        vm: &dyn VmBackend,
        cancel: &Cancel,
    ) -> Result<Option<Box<dyn Vm>>, VmError> {
        let made = async {
            match self {
                Self::Image(image) => vm.create(image).await,
                Self::Snapshot(snapshot) => vm.restore(snapshot).await,
            }
        };
        in_patience(cancel, made).await.transpose()
    }
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) vm: Arc<dyn VmBackend>,
    pub(super) request: RunRequest,
    pub(super) selection: Selection,
    pub(super) images: BTreeMap<ImageReference, Image>,
    pub(super) views: Views,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) scrubber: Scrubber,
    pub(super) artifacts: ArtifactStore,
}

impl Run {
    pub(super) fn graph(&self) -> &PipelineGraph {
        &self.request.plan.graph
    }

    /// The image that a root step names, or that stands in where it names none.
    pub(super) fn image_name(&self, step: &Step) -> ImageReference {
        image_name(self.graph(), step, self.vm.as_ref())
    }

    /// An image that was resolved when the run began.
    pub(super) fn image(&self, name: &ImageReference) -> Result<&Image, BackendError> {
        self.images
            .get(name)
            .ok_or_else(|| BackendError::Other(format!("image {name} was not resolved; this is a bug in hm")))
    }

    /// Where a step starts that has no parent.
    pub(super) fn start_image(&self, step: &Step) -> Result<Start, BackendError> {
        let image = self.image(&self.image_name(step))?;
        Ok(Start::Image(image.resolved.clone()))
    }

    /// What the images of services stand for, as the cache key takes it.
    pub(super) fn service_images(&self) -> BTreeMap<Option<String>, String> {
        let services = self.graph().steps().flat_map(|(_, step)| &step.services);
        let digests = services.filter_map(|service| {
            let image = self.images.get(&service_image_name(service, self.vm.as_ref()))?;
            Some((service.image.clone(), image.resolved.digest.clone()))
        });
        digests.collect()
    }

    /// A step's identity within the run, the same for whoever asks.
    pub(super) fn step_id(&self, index: StepIndex) -> Uuid {
        crate::announce::step_id(&self.request, index)
    }

    /// Where a step's key components are remembered, to tell the next run what has changed.
    pub(super) fn slot(&self, step: &Step) -> String {
        let root = self.request.repo_root.display();
        format!("{root}\0{}\0{}", self.request.pipeline_slug, step.key)
    }

    /// What collects a step's artifacts, where it has any.
    pub(super) fn collector(&self, index: StepIndex) -> Option<Collector> {
        let step = self.graph().step(index);
        (!step.artifacts.is_empty()).then(|| Collector {
            store: self.artifacts.clone(),
            run_id: self.request.run_id,
            step: step.key.to_string(),
            wanted: step.artifacts.clone(),
            max_bytes: self.request.options.artifact_bytes,
            backend: self.vm.name().to_owned(),
            scrubber: self.scrubber.clone(),
        })
    }

    /// The command of a step with everything around it.
    pub(super) fn exec(&self, step: &Step) -> ExecRequest {
        let options = &self.request.options;
        let mut exec = ExecRequest::shell("");
        exec.argv = command::argv(step.shell.as_ref(), &step.cmd);
        exec.env = self.request.source.step_variables(self.request.run_id);
        exec.env.extend(step.env.clone());
        exec.env.extend(self.request.env.clone());
        exec.secrets = give_secrets(&step.secrets, &self.request.secrets);
        exec.limits = Limits {
            memory: step.limits.memory.or(options.limits.memory),
            cpus: step.limits.cpus.or(options.limits.cpus),
            pids: step.limits.pids.or(options.limits.pids),
            disk: step.limits.disk.or(options.limits.disk),
        };
        exec.network = network(step, options);
        exec.grace = step.grace.unwrap_or(options.grace);
        let root = &self.request.repo_root;
        exec.caches = step
            .caches
            .iter()
            .map(|cache| caches::mount(cache, root))
            .collect();
        exec
    }
}

pub(super) fn image_name(graph: &PipelineGraph, step: &Step, vm: &dyn VmBackend) -> ImageReference {
    let named = step.image.as_deref().or_else(|| graph.default_image());
    named.map_or_else(|| vm.default_image(), ImageReference::new)
}

/// The image that a service names, or the backend's default.
pub(super) fn service_image_name(service: &Service, vm: &dyn VmBackend) -> ImageReference {
    let named = service.image.as_deref();
    named.map_or_else(|| vm.default_image(), ImageReference::new)
}

/// What a step may reach, by its own word or else the run's.
pub(super) const fn network(step: &Step, options: &RunOptions) -> Network {
    match step.network {
        Some(hm_pipeline_ir::Network::None) => Network::None,
        Some(hm_pipeline_ir::Network::Outbound) => Network::Outbound,
        None => options.network,
    }
}
