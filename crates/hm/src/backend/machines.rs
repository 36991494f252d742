//! The machines that builds run in.

use std::num::NonZeroUsize;
use std::sync::Arc;

use hm_docker::DockerBackend;
use hm_exec::{ExecutionBackend, LocalBackend};
use hm_sandbox::SandboxBackend;
use hm_snapshots::Registry;
use hm_vm::VmBackend;

use super::choice::choose;
use super::settings::{docker_config, sandbox_config, sources};
use crate::choices::BackendChoice;
use crate::config::{Config, Origin};
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::pulls::Pulls;
use crate::show::Notes;
use crate::stats::Stats;

/// What runs builds on this machine.
#[derive(Debug)]
pub struct Machines {
    kind: Kind,
    /// Why these, where one expects others.
    why: Option<String>,
    pulls: Arc<Pulls>,
}

#[derive(Debug)]
enum Kind {
    Sandbox(Arc<SandboxBackend>),
    Docker(Arc<DockerBackend>),
}

impl Machines {
    /// The machines that the configuration asks for, or those that this machine can run.
    ///
    /// # Errors
    /// When this machine cannot have them.
    pub fn new(context: &Context, config: &Config) -> Result<Self> {
        if let Some((_, Origin::Flag(_))) = context.layers.get("backend")
            && config.backend == Some(BackendChoice::Cloud)
        {
            return Err(Failure::plain_usage(
                "the cloud's machines are its agents' and not here: only `hm run` takes `--backend cloud`",
            ));
        }
        let (backend, why) = choose(context, config);
        let pulls = Arc::new(Pulls::new(context));
        let kind = match backend {
            BackendChoice::Sandbox | BackendChoice::Cloud => Kind::Sandbox(Arc::new(SandboxBackend::new(
                sandbox_config(context, config, Arc::clone(&pulls)),
            )?)),
            BackendChoice::Docker => Kind::Docker(Arc::new(DockerBackend::new(docker_config(
                context,
                config,
                Arc::clone(&pulls),
            ))?)),
        };
        Ok(Self { kind, why, pulls })
    }

    /// Says why these machines run the build, where one expects others.
    pub fn say_why(&self, context: &Context) {
        if let Some(why) = &self.why {
            context.printer.note(why);
        }
    }

    /// Says through `notes` which images are fetched: a renderer has the terminal.
    pub fn speak_through(&self, notes: &Notes) {
        self.pulls.speak_through(notes.clone());
    }

    /// The machines themselves, for a shell, for the images and for the cache.
    #[must_use]
    pub fn vm(&self) -> Arc<dyn VmBackend> {
        match &self.kind {
            Kind::Sandbox(sandbox) => Arc::<SandboxBackend>::clone(sandbox),
            Kind::Docker(docker) => Arc::<DockerBackend>::clone(docker),
        }
    }

    /// Which of their snapshots stands for which cache key.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn registry(&self, config: &Config) -> Result<Registry> {
        let registries = config.data_dir.join("registry");
        Ok(Registry::open(&registries.join(self.vm().name()))?)
    }

    /// A backend over them, which keeps the snapshots within the configured budget.
    #[must_use]
    pub fn backend(&self, context: &Context, config: &Config) -> Box<dyn ExecutionBackend> {
        Box::new(self.local(context, config))
    }

    /// The same, as what sets past steps up again.
    #[must_use]
    pub fn local(&self, context: &Context, config: &Config) -> LocalBackend {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let parallelism = config.parallelism.unwrap_or(processors);
        LocalBackend::new(parallelism, self.vm(), config.data_dir.clone())
            .with_budget(config.cache)
            .with_image_budget(config.image_budget)
            .with_sources(sources(context, config))
    }

    /// Adds what was counted; an engine's machines are not ours to count.
    pub fn count(&self, stats: &mut Stats) {
        let Kind::Sandbox(sandbox) = &self.kind else {
            return;
        };
        let counted = sandbox.stats();
        stats.sandboxes_started = counted.machines;
        stats.helpers_started = counted.supervisors;
        stats.commands_run = counted.commands;
        stats.snapshots_taken = counted.snapshots;
    }
}
