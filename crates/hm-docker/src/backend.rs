//! [`DockerBackend`]: images, machines and snapshots of an engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::base::{Base, is_id, snapshot_image};
use super::shared::Shared;
use super::usage::Listing;
use super::vm::DockerVm;
use super::{DockerConfig, caches, engine, image, pods, reclaim, remembered, sourced, state};
use hm_source::Source;
use hm_vm::{
    CacheDirectory, Features, ImageConfig, ImageReference, Images, PodId, PodRequest, ResolvedImage, Result,
    SnapshotCheck, SnapshotId, Usage, Vm, VmBackend, VmError, WORKSPACE,
};

/// Runs steps in containers of a Docker-compatible engine.
#[derive(Debug)]
pub struct DockerBackend {
    shared: Arc<Shared>,
}

impl DockerBackend {
    /// A backend. It connects to the engine when that is first needed; [`VmBackend::ready`] says whether it can.
    ///
    /// # Errors
    /// When the data directory is not absolute.
    pub fn new(config: DockerConfig) -> Result<Self> {
        if !config.data_dir.is_absolute() {
            return Err(VmError::Other(format!(
                "the data directory {} is not absolute",
                config.data_dir.display()
            )));
        }
        Ok(Self {
            shared: Arc::new(Shared::new(config)),
        })
    }
}

impl DockerBackend {
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

#[async_trait]
impl VmBackend for DockerBackend {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn default_image(&self) -> ImageReference {
        self.shared.config.default_image.clone()
    }

    fn features(&self) -> Features {
        Features::ALL
    }

    async fn ready(&self) -> Result<()> {
        engine::refuse_full(self.shared.info().await?)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage> {
        image::resolve(&self.shared, image).await
    }

    async fn image_config(&self, image: &ResolvedImage) -> Result<ImageConfig> {
        image::config(&self.shared, image).await
    }

    async fn open_pod(&self, request: &PodRequest) -> Result<PodId> {
        Ok(pods::open(&self.shared, request))
    }

    async fn close_pod(&self, pod: &PodId) -> Result<()> {
        pods::close(&self.shared, pod).await
    }

    async fn create(&self, image: &ResolvedImage) -> Result<Box<dyn Vm>> {
        let name = image::known_as(&self.shared, image).await?;
        let remembered = if image.reference.is_path() {
            &name
        } else {
            image.reference.as_str()
        };
        remembered::touch(&self.shared, remembered).await?;
        let base = Base::of_image(&self.shared, &name).await?;
        let base = base.ok_or_else(|| VmError::ImageNotFound {
            image: image.reference.clone(),
            reason: "it has gone from the engine since it was found; run again".into(),
        })?;
        let workspace = Path::new(WORKSPACE);
        if let Some(volume) = base.volumes.iter().find(|volume| {
            let volume = Path::new(volume.as_str());
            workspace.starts_with(volume) || volume.starts_with(workspace)
        }) {
            return Err(VmError::Unsupported {
                what: format!("the image {} on docker", image.reference),
                reason: format!(
                    "it declares VOLUME {volume}, which hides the source: build it without that, or run with the sandbox"
                ),
            });
        }
        Ok(Box::new(DockerVm::new(self.shared.clone(), base, None)))
    }

    async fn restore(&self, snapshot: &SnapshotId) -> Result<Box<dyn Vm>> {
        let base = Base::restored(&self.shared, snapshot).await?;
        Ok(Box::new(DockerVm::new(
            self.shared.clone(),
            base,
            Some(snapshot.clone()),
        )))
    }

    async fn check(&self, snapshot: &SnapshotId, source: &Source) -> Result<SnapshotCheck> {
        let Some(base) = Base::of_snapshot(&self.shared, snapshot).await? else {
            return Ok(SnapshotCheck::Missing);
        };
        sourced::check(&self.shared, snapshot, base, source).await
    }

    async fn remove(&self, snapshot: &SnapshotId) -> Result<u64> {
        if !is_id(&snapshot.0) {
            return Ok(0);
        }
        let state = self.shared.state().await?;
        let image = snapshot_image(&snapshot.0);
        // First, so that nobody starts from it any more.
        state::remove(&state.snapshot(&snapshot.0))?;
        sourced::forget(&self.shared, &image).await?;
        let freed = self.shared.recent_listing().await?.freed(&image);
        self.shared.remove_image(&image).await?;
        Ok(freed)
    }

    async fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        Ok(Listing::of(self.shared.docker().await?)
            .await?
            .freed(&snapshot_image(&snapshot.0)))
    }

    async fn cache_directories(&self) -> Result<Vec<CacheDirectory>> {
        caches::list(&self.shared).await
    }

    async fn cache_directories_at_hand(&self) -> Result<Vec<CacheDirectory>> {
        caches::at_hand(&self.shared).await
    }

    async fn remove_cache_directory(&self, name: &str) -> Result<u64> {
        caches::remove(&self.shared, name).await
    }

    async fn snapshots(&self) -> Result<Vec<(SnapshotId, SystemTime)>> {
        let state = self.shared.state().await?;
        let mut snapshots = Vec::new();
        for id in state.names("snapshots")? {
            if let Ok(taken) = std::fs::metadata(state.snapshot(&id)).and_then(|metadata| metadata.modified())
            {
                snapshots.push((SnapshotId(id), taken));
            }
        }
        Ok(snapshots)
    }

    async fn usage(&self) -> Result<Usage> {
        let snapshots = self.snapshots().await?.len() as u64;
        let store = &self.shared.state().await?.store;
        let bytes = Listing::of(self.shared.docker().await?)
            .await?
            .of_snapshots(store);
        Ok(Usage { bytes, snapshots })
    }

    async fn reclaim(&self) -> Result<()> {
        reclaim::reclaim(&self.shared).await
    }

    async fn forget_sources(&self) -> Result<()> {
        sourced::forget_idle(&self.shared, Duration::ZERO).await
    }

    async fn shutdown(&self) {
        self.shared.settle().await;
    }
}
