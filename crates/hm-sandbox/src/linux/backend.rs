//! [`SandboxBackend`]: images, machines and snapshots of the sandbox.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use super::images;
use super::layers::LayerChain;
use super::shared::Shared;
use super::stats::count;
use super::vm::SandboxVm;
use crate::surface::SandboxConfig;
use crate::surface::Stats;
use hm_source::Source;
use hm_vm::blocking;
use hm_vm::{CacheDirectory, Features, PodId, PodRequest};
use hm_vm::{
    ImageConfig, ImageReference, Images, ResolvedImage, Result, SnapshotCheck, SnapshotId, Usage, Vm,
    VmBackend,
};

/// Runs steps in namespaces over overlays on this machine.
#[derive(Debug)]
pub struct SandboxBackend {
    shared: Arc<Shared>,
}

impl SandboxBackend {
    /// A backend; starts nothing and writes nothing yet.
    ///
    /// # Errors
    /// When the data directory is not absolute, or its layers cannot be opened.
    pub fn new(config: SandboxConfig) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared::open(config)?),
        })
    }

    /// What this backend has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            supervisors: self.shared.supervision.started(),
            ..self.shared.counters.read()
        }
    }
}

fn machine(shared: &Arc<Shared>, chain: LayerChain, base: Option<SnapshotId>) -> Result<Box<dyn Vm>> {
    count(&shared.counters.machines);
    Ok(Box::new(SandboxVm::new(shared.clone(), chain, base)?))
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
        super::doctor::notices(&self.shared.config)
    }

    /// All of them. A limit that this machine's cgroups cannot keep is accepted, and each step that asks for it is told
    /// so: a plan that runs here as root runs here for everybody.
    fn features(&self) -> Features {
        Features::ALL
    }

    async fn ready(&self) -> Result<()> {
        let shared = self.shared.clone();
        blocking(move || {
            let supervision = &shared.supervision;
            super::doctor::ready(&shared.config, || supervision.supervisor().map(drop))
        })
        .await
    }

    async fn open_pod(&self, request: &PodRequest) -> Result<PodId> {
        let (shared, request) = (self.shared.clone(), request.clone());
        blocking(move || shared.pods.open(&shared.supervision.supervisor()?, &request)).await
    }

    async fn close_pod(&self, pod: &PodId) -> Result<()> {
        self.shared.pods.close(pod);
        Ok(())
    }

    async fn cache_directories(&self) -> Result<Vec<CacheDirectory>> {
        let caches = self.shared.caches.clone();
        blocking(move || caches.list()).await
    }

    async fn remove_cache_directory(&self, name: &str) -> Result<u64> {
        let (caches, name) = (self.shared.caches.clone(), name.to_owned());
        blocking(move || caches.remove(&name)).await
    }

    fn prepare(&self, parallelism: usize) {
        // An error is reported by the first machine that needs the supervisor.
        if let Ok(supervisor) = self.shared.supervision.supervisor() {
            supervisor.prepare(parallelism);
        }
    }

    async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage> {
        images::resolve(&self.shared.config, &self.shared.store, image).await
    }

    fn image_changes(&self, image: &ResolvedImage, was: &dyn Fn(&str) -> bool) -> Option<String> {
        images::changes(&self.shared.config, image, was)
    }

    async fn image_config(&self, image: &ResolvedImage) -> Result<ImageConfig> {
        if images::is_stored(image) {
            self.shared.store.config(image)
        } else {
            Ok(ImageConfig::default())
        }
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self.shared.as_ref())
    }

    async fn create(&self, image: &ResolvedImage) -> Result<Box<dyn Vm>> {
        self.shared.fetch(image).await?;
        machine(&self.shared, LayerChain::new(image.clone()), None)
    }

    async fn restore(&self, snapshot: &SnapshotId) -> Result<Box<dyn Vm>> {
        let chain = self.shared.layers.load(snapshot)?;
        self.shared.fetch(&chain.image).await?;
        machine(&self.shared, chain, Some(snapshot.clone()))
    }

    async fn check(&self, snapshot: &SnapshotId, source: &Source) -> Result<SnapshotCheck> {
        let checked = self.shared.layers.check(snapshot, source)?;
        if checked == SnapshotCheck::Usable {
            // Its image may have been removed.
            let image = self.shared.layers.load(snapshot)?.image;
            if images::is_stored(&image) && !self.shared.store.has(&image.digest)? {
                return Ok(SnapshotCheck::Missing);
            }
        }
        Ok(checked)
    }

    async fn remove(&self, snapshot: &SnapshotId) -> Result<u64> {
        let (layers, snapshot) = (self.shared.layers.clone(), snapshot.clone());
        blocking(move || layers.remove(&snapshot)).await
    }

    async fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        let (layers, snapshot) = (self.shared.layers.clone(), snapshot.clone());
        blocking(move || layers.reclaimable(&snapshot)).await
    }

    async fn snapshots(&self) -> Result<Vec<(SnapshotId, SystemTime)>> {
        let layers = self.shared.layers.clone();
        blocking(move || layers.snapshots()).await
    }

    async fn usage(&self) -> Result<Usage> {
        let layers = self.shared.layers.clone();
        blocking(move || layers.usage()).await
    }

    async fn reclaim(&self) -> Result<()> {
        let (layers, caches) = (self.shared.layers.clone(), self.shared.caches.clone());
        let store = self.shared.store.clone();
        blocking(move || {
            let images = store.reclaim().map(drop);
            caches.reclaim().and(layers.reclaim()).and(images)
        })
        .await
    }

    async fn shutdown(&self) {
        let shared = self.shared.clone();
        let ended = blocking(move || {
            shared.spares.clear();
            shared.supervision.end();
            Ok(())
        });
        // There is nothing to be done about a panic in there.
        let _ = ended.await;
    }
}
