//! The backend that runs builds on this machine.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hm_snapshots::Budget;
use hm_source::SourceStore;
use hm_vm::{Cancel, VmBackend};

use super::build::Build;
use super::sink::Sink;
use crate::{BackendHandle, Capabilities, ExecutionBackend, Result, RunRequest};

/// Runs builds on this machine.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    name: String,
    pub(super) parallelism: NonZeroUsize,
    /// Requests may ask for less than `parallelism` alone.
    capped: bool,
    pub(super) vm: Arc<dyn VmBackend>,
    pub(super) data_dir: PathBuf,
    pub(super) budget: Option<Budget>,
    pub(super) image_budget: Option<u64>,
    pub(super) sources: Arc<SourceStore>,
}

impl LocalBackend {
    /// A backend that runs up to `parallelism` steps at once on `vm` and keeps its sources and its registry
    /// under `data_dir`.
    #[must_use]
    pub fn new(parallelism: NonZeroUsize, vm: Arc<dyn VmBackend>, data_dir: PathBuf) -> Self {
        Self {
            name: format!("local-{}", vm.name()),
            parallelism,
            capped: false,
            vm,
            sources: Arc::new(SourceStore::new(data_dir.join("sources")).hiding(&data_dir)),
            data_dir,
            budget: None,
            image_budget: None,
        }
    }

    /// Holds the snapshots and the cache directories together within `budget`, during a run and after it: of both, those
    /// used longest ago go first. Without one, nothing is ever evicted.
    #[must_use]
    pub const fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Holds the images within so many bytes after a run: those used longest ago go first. They have a budget of their
    /// own, for they may be slow to fetch again. Without one, none is ever evicted.
    #[must_use]
    pub const fn with_image_budget(mut self, bytes: u64) -> Self {
        self.image_budget = Some(bytes);
        self
    }

    /// Runs no more steps at once than it was made for: a request may ask for fewer, and not for more.
    #[must_use]
    pub const fn capping_parallelism(mut self) -> Self {
        self.capped = true;
        self
    }

    /// Freezes worktrees with this store instead of the plain one under the data directory: one that knows
    /// git's `core.excludesFile`, for instance.
    #[must_use]
    pub fn with_sources(mut self, sources: SourceStore) -> Self {
        self.sources = Arc::new(sources);
        self
    }
}

#[async_trait]
impl ExecutionBackend for LocalBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let features = self.vm.features();
        Capabilities {
            honors_parallelism: true,
            honors_keep_going: true,
            is_observer: false,
            reports_cache_hits: true,
            supports_no_watch: false,
            provides_watch_url: false,
            enforces_timeout: true,
            honors_no_cache: true,
            honors_step_selection: true,
            honors_image_map: true,
            keeps_snapshots: true,
            runs_services: features.pods,
            gives_secrets: features.secrets,
            takes_secrets: features.secrets,
            collects_artifacts: features.exports,
            keeps_cache_directories: features.caches,
            limits_memory: features.limits_memory,
            limits_cpus: features.limits_cpus,
            limits_pids: features.limits_pids,
            limits_disk: features.limits_disk,
        }
    }

    async fn start(&self, request: RunRequest) -> Result<BackendHandle> {
        let run = self.set_up(request).await?;
        let slots = match run.request.options.parallelism {
            Some(asked) if self.capped => asked.min(self.parallelism),
            asked => asked.unwrap_or(self.parallelism),
        };
        let (sink, events) = Sink::new(run.scrubber.clone());
        let cancel = Cancel::new();
        let build = Build {
            backend: self.name.clone(),
            run: Arc::new(run),
            sink,
            cancel: cancel.clone(),
            slots: slots.get(),
            budget: self.budget,
            image_budget: self.image_budget,
            sources: Arc::clone(&self.sources),
        };
        Ok(BackendHandle::spawn_with(
            events,
            cancel,
            tokio::spawn(build.run()),
        ))
    }
}
