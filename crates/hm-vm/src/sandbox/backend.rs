//! [`SandboxBackend`]: images, machines and snapshots of the sandbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::images::{self, Image};
use super::layers::{DirectFileOps, FileOps, LayerChain, LayerStore};
use super::roots::Spares;
use super::stats::{Counters, count};
use super::supervision::Supervision;
use super::vm::SandboxVm;
use super::{SandboxConfig, Stats};
use crate::source::Source;
use crate::{
    ImageReference, ResolvedImage, Result, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend, VmError,
};

/// Runs steps in namespaces over overlays on this machine.
#[derive(Debug)]
pub struct SandboxBackend {
    inner: Arc<Inner>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Before the layers go, which the spares write to.
        self.spares.clear();
    }
}

/// What machines share with their backend.
#[derive(Debug)]
pub(super) struct Inner {
    pub config: SandboxConfig,
    pub layers: LayerStore,
    pub counters: Counters,
    pub supervision: Arc<Supervision>,
    pub spares: Spares,
    images: Mutex<HashMap<ResolvedImage, Arc<OnceLock<Arc<Image>>>>>,
}

impl SandboxBackend {
    /// A backend; starts nothing and writes nothing yet.
    ///
    /// # Errors
    /// When the data directory is not absolute, or its layers cannot be opened.
    pub fn new(config: SandboxConfig) -> Result<Self> {
        if !config.data_dir.is_absolute() {
            return Err(VmError::Setup(format!(
                "{} is no absolute path",
                config.data_dir.display()
            )));
        }
        let root = config.data_dir.join("sandbox");
        let supervision = Arc::new(Supervision::new(&config, &root));
        let files: Arc<dyn FileOps> = if supervision.is_root() {
            Arc::new(DirectFileOps)
        } else {
            supervision.clone()
        };
        let inner = Inner {
            layers: LayerStore::open(&root, files)?,
            config,
            counters: Counters::default(),
            supervision,
            spares: Spares::default(),
            images: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// What this backend has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            supervisors: self.inner.supervision.started(),
            ..self.inner.counters.read()
        }
    }
}

impl Inner {
    /// An image, opened once.
    pub(super) fn image(&self, image: &ResolvedImage) -> Result<Arc<Image>> {
        let cell = {
            let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            images.entry(image.clone()).or_default().clone()
        };
        if let Some(opened) = cell.get() {
            return Ok(opened.clone());
        }
        let unpack = |order| self.supervision.unpack(order);
        let opened = Arc::new(images::open(
            &self.config,
            image,
            self.supervision.identity(),
            &unpack,
        )?);
        Ok(cell.get_or_init(|| opened).clone())
    }

    fn machine(self: &Arc<Self>, chain: LayerChain, base: Option<SnapshotId>) -> Result<Box<dyn Vm>> {
        count(&self.counters.machines);
        Ok(Box::new(SandboxVm::new(self.clone(), chain, base)?))
    }
}

#[async_trait]
impl VmBackend for SandboxBackend {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn default_image(&self) -> ImageReference {
        ImageReference::new(ImageReference::HOST)
    }

    fn notices(&self) -> Vec<String> {
        super::doctor::notices(&self.inner.config)
    }

    fn prepare(&self, parallelism: usize) {
        // An error is reported by the first machine that needs the supervisor.
        if let Ok(supervisor) = self.inner.supervision.supervisor() {
            supervisor.prepare(parallelism);
        }
    }

    async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage> {
        images::resolve(&self.inner.config, image)
    }

    async fn create(&self, image: &ResolvedImage) -> Result<Box<dyn Vm>> {
        self.inner.machine(LayerChain::new(image.clone()), None)
    }

    async fn restore(&self, snapshot: &SnapshotId) -> Result<Box<dyn Vm>> {
        self.inner
            .machine(self.inner.layers.load(snapshot)?, Some(snapshot.clone()))
    }

    async fn check(&self, snapshot: &SnapshotId, source: &Source) -> Result<SnapshotCheck> {
        self.inner.layers.check(snapshot, source)
    }

    async fn remove(&self, snapshot: &SnapshotId) -> Result<u64> {
        let (layers, snapshot) = (self.inner.layers.clone(), snapshot.clone());
        blocking(move || layers.remove(&snapshot)).await
    }

    async fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        let (layers, snapshot) = (self.inner.layers.clone(), snapshot.clone());
        blocking(move || layers.reclaimable(&snapshot)).await
    }

    async fn snapshots(&self) -> Result<Vec<(SnapshotId, SystemTime)>> {
        let layers = self.inner.layers.clone();
        blocking(move || layers.snapshots()).await
    }

    async fn usage(&self) -> Result<Usage> {
        let layers = self.inner.layers.clone();
        blocking(move || layers.usage()).await
    }

    async fn reclaim(&self) -> Result<()> {
        let layers = self.inner.layers.clone();
        blocking(move || layers.reclaim()).await
    }

    async fn shutdown(&self) {
        self.inner.spares.clear();
        self.inner.supervision.end();
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| VmError::Other(format!("a task of the sandbox failed: {error}")))?
}
