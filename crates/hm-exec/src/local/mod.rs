//! Runs a build in-process: a scheduler over a [`hm_vm::VmBackend`] and the snapshot registry.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hm_vm::VmBackend;

use crate::{BackendError, BackendHandle, Capabilities, ExecutionBackend, Result, RunRequest};

/// Runs builds on this machine.
#[derive(Debug)]
pub struct LocalBackend {
    name: String,
    parallelism: NonZeroUsize,
    vm: Arc<dyn VmBackend>,
    data_dir: PathBuf,
}

impl LocalBackend {
    /// A backend that runs up to `parallelism` steps at once on `vm` and keeps its sources and its registry
    /// under `data_dir`.
    #[must_use]
    pub fn new(parallelism: NonZeroUsize, vm: Arc<dyn VmBackend>, data_dir: PathBuf) -> Self {
        Self {
            name: format!("local-{}", vm.name()),
            parallelism,
            vm,
            data_dir,
        }
    }
}

#[async_trait]
impl ExecutionBackend for LocalBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn start(&self, _request: RunRequest) -> Result<BackendHandle> {
        let _ = (self.parallelism, &self.vm, &self.data_dir);
        Err(BackendError::Other("not built yet".into()))
    }
}
