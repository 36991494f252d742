//! Chooses what runs a build.

use std::num::NonZeroUsize;
use std::sync::Arc;

use hm_exec::{ExecutionBackend, LocalBackend};
use hm_vm::VmBackend;
use hm_vm::registry::Registry;
use hm_vm::sandbox::{PASSED_VARIABLES, SandboxBackend, SandboxConfig};
use hm_vm::source::SourceStore;

use crate::config::{BackendChoice, Config};
use crate::context::Context;
use crate::env_vars;
use crate::fail::Result;
use crate::repository;
use crate::stats::Stats;

/// Where programs are when nobody says.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs builds on this machine.
#[derive(Debug)]
pub struct Machines {
    sandbox: Arc<SandboxBackend>,
}

impl Machines {
    /// The machines that the configuration asks for.
    ///
    /// # Errors
    /// When this machine cannot have them.
    pub fn new(context: &Context, config: &Config) -> Result<Self> {
        match config.backend {
            BackendChoice::Sandbox => {
                let sandbox = SandboxBackend::new(sandbox_config(context, config))?;
                Ok(Self {
                    sandbox: Arc::new(sandbox),
                })
            }
        }
    }

    /// The machines themselves, for a shell and for the cache.
    #[must_use]
    pub fn vm(&self) -> Arc<dyn VmBackend> {
        Arc::<SandboxBackend>::clone(&self.sandbox)
    }

    /// Which of their snapshots stands for which cache key.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn registry(&self, config: &Config) -> Result<Registry> {
        Ok(Registry::open(
            &config.data_dir.join("registry").join(self.sandbox.name()),
        )?)
    }

    /// A backend over them, which keeps the snapshots within the configured budget.
    #[must_use]
    pub fn backend(&self, context: &Context, config: &Config) -> Box<dyn ExecutionBackend> {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let parallelism = config.parallelism.unwrap_or(processors);
        let local = LocalBackend::new(parallelism, self.vm(), config.data_dir.clone())
            .with_budget(config.cache)
            .with_sources(sources(context, config));
        Box::new(local)
    }

    /// Adds what was counted.
    pub fn count(&self, stats: &mut Stats) {
        let counted = self.sandbox.stats();
        stats.sandboxes_started = counted.machines;
        stats.helpers_started = counted.supervisors;
        stats.commands_run = counted.commands;
        stats.snapshots_taken = counted.snapshots;
    }
}

/// What the sandbox needs to know of this machine.
#[must_use]
pub fn sandbox_config(context: &Context, config: &Config) -> SandboxConfig {
    let environment = &context.environment;
    let passed = PASSED_VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), environment.get(name)?.to_owned())));
    SandboxConfig {
        home: environment.home(),
        host_env: passed.collect(),
        ..SandboxConfig::new(
            &config.data_dir,
            environment.get(env_vars::PATH).unwrap_or(USUAL_PATH),
        )
    }
}

/// The frozen sources: what git ignores everywhere is ignored here too, and hm's own data is no source.
#[must_use]
pub fn sources(context: &Context, config: &Config) -> SourceStore {
    let store = SourceStore::new(config.data_dir.join("sources")).hiding(&config.data_dir);
    match repository::global_excludes(&context.environment) {
        Some(file) => store.with_global_excludes(file),
        None => store,
    }
}
