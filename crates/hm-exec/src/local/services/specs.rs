//! The services of a step, from the plan to what can be started.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hm_pipeline_ir::{Service, ServiceScope, StepIndex};
use hm_vm::{ExecRequest, PodRequest};

use super::super::command;
use super::super::run::{Run, network, service_image_name};
use super::{Chain, Services, Site, Spec};
use crate::Result;

/// How long a service may take to end after SIGTERM: nobody waits for what it might still do.
const GRACE: Duration = Duration::from_secs(1);

impl Run {
    /// The services of a step, where it has any. `chain` gives what keeps those of its chain.
    pub(in crate::local) fn services(
        &self,
        index: StepIndex,
        site: impl FnOnce() -> Site,
        chain: impl FnOnce() -> Arc<Chain>,
    ) -> Result<Option<Services>> {
        let step = self.graph().step(index);
        let of_chain = self.graph().chain_services(index);
        let own: Vec<&Service> = step
            .services
            .iter()
            .filter(|service| service.scope == ServiceScope::Step)
            .collect();
        if of_chain.is_empty() && own.is_empty() {
            return Ok(None);
        }
        let of_chain: Vec<&Service> = of_chain.into_iter().map(|(_, service)| service).collect();
        let specs = |services: &[&Service]| {
            services
                .iter()
                .map(|service| self.spec(service))
                .collect::<Result<Vec<_>>>()
        };
        let hosts = if of_chain.is_empty() {
            names(&own)
        } else {
            self.names_of_chain(index)
        };
        Ok(Some(Services {
            site: site(),
            step_id: self.step_id(index),
            pod: PodRequest {
                network: network(step, &self.request.options),
                hosts,
            },
            own: specs(&own)?,
            chain: if of_chain.is_empty() {
                None
            } else {
                Some((chain(), specs(&of_chain)?))
            },
        }))
    }

    /// A pod's names are fixed when it is opened, so it has those of all steps that may come.
    fn names_of_chain(&self, index: StepIndex) -> Vec<String> {
        let graph = self.graph();
        let chain = graph.chain_of(index);
        let steps = graph.steps().filter(|(other, _)| graph.chain_of(*other) == chain);
        let services: Vec<&Service> = steps.flat_map(|(_, step)| &step.services).collect();
        names(&services)
    }

    fn spec(&self, service: &Service) -> Result<Spec> {
        let name = service_image_name(service, self.vm.as_ref());
        let image = self.image(&name)?;
        let mut request = ExecRequest::shell("");
        match &service.cmd {
            Some(cmd) => request.argv = command::argv(service.shell.as_ref(), cmd),
            None => {
                request.argv = image.config.command();
                request.user = image.config.user.clone().filter(|user| !user.is_empty());
                let directory = image.config.working_dir.as_deref().unwrap_or_default();
                request.cwd = Path::new("/").join(PathBuf::from(directory));
            }
        }
        request.env = service.env.clone();
        request.limits = self.request.options.limits.clone();
        request.grace = GRACE;
        Ok(Spec {
            name: service.name.clone(),
            image: image.resolved.clone(),
            request,
            shell: service.shell.clone(),
            health: service.health.clone(),
        })
    }
}

fn names(services: &[&Service]) -> Vec<String> {
    let names: BTreeSet<&str> = services.iter().map(|service| service.name.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}
