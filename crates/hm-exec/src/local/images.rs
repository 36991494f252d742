//! The images that a run's steps and services start from: found and pinned before anything runs.

use std::collections::BTreeMap;

use futures::future::join_all;
use hm_pipeline_ir::{Service, Step, StepIndex};
use hm_vm::{ImageConfig, ImageReference, VmError};

use super::backend::LocalBackend;
use super::run::{Image, image_name, service_image_name};
use super::select::{Role, Selection};
use crate::{BackendError, Result, RunRequest};

/// Who needs an image.
struct Wanted<'a> {
    name: ImageReference,
    step: &'a Step,
    /// The service that starts from it, where it is not the step itself.
    service: Option<&'a Service>,
    /// The first service that is to run the image's own command.
    own_command: Option<(&'a Step, &'a Service)>,
}

impl Wanted<'_> {
    fn who(&self) -> String {
        match self.service {
            None => format!("step `{}`", self.step.key),
            Some(service) => format!("service `{}` of step `{}`", service.name, self.step.key),
        }
    }
}

fn want<'a>(
    wanted: &mut Vec<Wanted<'a>>,
    name: ImageReference,
    step: &'a Step,
    service: Option<&'a Service>,
) {
    let own_command = service
        .filter(|service| service.cmd.is_none())
        .map(|service| (step, service));
    match wanted.iter_mut().find(|other| other.name == name) {
        Some(other) => other.own_command = other.own_command.or(own_command),
        None => wanted.push(Wanted {
            name,
            step,
            service,
            own_command,
        }),
    }
}

impl LocalBackend {
    /// Finds all of them at once.
    pub(super) async fn images(
        &self,
        request: &RunRequest,
        selection: &Selection,
    ) -> Result<BTreeMap<ImageReference, Image>> {
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        let graph = &request.plan.graph;
        for (index, step) in graph.steps() {
            if graph.parent(index).is_none() {
                want(&mut wanted, image_name(graph, step, self.vm.as_ref()), step, None);
            }
            if selection.roles[index.as_usize()] != Role::Outside {
                for service in &step.services {
                    let name = service_image_name(service, self.vm.as_ref());
                    want(&mut wanted, name, step, Some(service));
                }
            }
        }
        self.find_images(request, &wanted).await
    }

    /// Finds those of one step: its services', and its own where it starts from it.
    pub(super) async fn images_of_step(
        &self,
        request: &RunRequest,
        index: StepIndex,
        starts_from_it: bool,
    ) -> Result<BTreeMap<ImageReference, Image>> {
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        let graph = &request.plan.graph;
        let step = graph.step(index);
        if starts_from_it {
            want(&mut wanted, image_name(graph, step, self.vm.as_ref()), step, None);
        }
        let own = step.services.iter();
        let chain = graph.chain_services(index);
        for service in own.chain(chain.into_iter().map(|(_, service)| service)) {
            let name = service_image_name(service, self.vm.as_ref());
            want(&mut wanted, name, step, Some(service));
        }
        self.find_images(request, &wanted).await
    }

    async fn find_images(
        &self,
        request: &RunRequest,
        wanted: &[Wanted<'_>],
    ) -> Result<BTreeMap<ImageReference, Image>> {
        let found = join_all(wanted.iter().map(|wanted| self.image(request, wanted))).await;
        wanted
            .iter()
            .zip(found)
            .map(|(wanted, image)| Ok((wanted.name.clone(), image?)))
            .collect()
    }

    async fn image(&self, request: &RunRequest, wanted: &Wanted<'_>) -> Result<Image> {
        let options = &request.options;
        let target = options
            .images
            .of_plan(&wanted.name, &request.repo_root, options.image_paths);
        let resolved = match target {
            Ok(target) => self.vm.resolve(&target).await,
            Err(error) => Err(error),
        };
        let resolved = resolved.map_err(|error| match error {
            VmError::ImageNotFound { image, reason } => BackendError::NotFound(format!(
                "image {image} of {}: {reason}; let another one stand in for it with `--image \
                 {name}=host` (this machine's own root, read-only) or `--image {name}=/path/to/rootfs.tar`, \
                 or for good with `\"{name}\" = \"host\"` under [images] in .hm/config.toml",
                wanted.who(),
                name = wanted.name,
            )),
            error => error.into(),
        })?;
        let mut config = ImageConfig::default();
        if let Some((step, service)) = wanted.own_command {
            config = self.vm.image_config(&resolved).await?;
            if config.command().is_empty() {
                return Err(BackendError::Rejected {
                    code: "no_command".into(),
                    message: format!(
                        "service `{}` of step `{}` has no `cmd`, and its image {} has no command of its own: say what \
                         the service runs",
                        service.name, step.key, wanted.name
                    ),
                });
            }
        }
        Ok(Image {
            name: wanted.name.to_string(),
            resolved,
            config,
        })
    }
}
