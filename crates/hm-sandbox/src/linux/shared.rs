//! What machines share with their backend.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::caches::CacheStore;
use super::image_files::ImageFiles;
use super::images::{self, Image};
use super::layers::{DirectFileOps, FileOps, LayerStore};
use super::pods::Pods;
use super::roots::Spares;
use super::stats::Counters;
use super::supervision::Supervision;
use crate::surface::SandboxConfig;
use hm_oci::ImageStore;
use hm_vm::{ResolvedImage, Result, VmError};

#[derive(Debug)]
pub(super) struct Shared {
    pub config: SandboxConfig,
    pub layers: LayerStore,
    pub caches: CacheStore,
    pub pods: Pods,
    pub counters: Counters,
    pub supervision: Arc<Supervision>,
    pub spares: Spares,
    pub store: ImageStore,
    images: Mutex<HashMap<ResolvedImage, Arc<OnceLock<Arc<Image>>>>>,
}

impl Shared {
    /// Starts nothing and writes nothing yet.
    pub(super) fn open(config: SandboxConfig) -> Result<Self> {
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
        let image_files = ImageFiles {
            supervision: supervision.clone(),
            files: files.clone(),
        };
        let (oci, settings) = (config.data_dir.join("oci"), config.images.clone());
        let layers = LayerStore::open(&root, files)?;
        Ok(Self {
            store: ImageStore::open(oci, settings, Arc::new(image_files)),
            caches: CacheStore::new(layers.clone()),
            layers,
            pods: Pods::default(),
            config,
            counters: Counters::default(),
            supervision,
            spares: Spares::default(),
            images: Mutex::default(),
        })
    }

    /// Fetches what is missing of an image of the store, so that it can be opened.
    pub(super) async fn fetch(&self, image: &ResolvedImage) -> Result<()> {
        if !images::is_stored(image) {
            return Ok(());
        }
        let cell = self.cell(image);
        if cell.get().is_none() {
            let fetched = self.store.open_image(image).await?;
            let opened = images::stacked(&self.config, self.supervision.identity(), fetched)?;
            cell.get_or_init(|| Arc::new(opened));
        }
        Ok(())
    }

    fn cell(&self, image: &ResolvedImage) -> Arc<OnceLock<Arc<Image>>> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.entry(image.clone()).or_default().clone()
    }

    /// An image, opened once.
    pub(super) fn image(&self, image: &ResolvedImage) -> Result<Arc<Image>> {
        let cell = self.cell(image);
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
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Before the layers go, which the spares write to.
        self.spares.clear();
    }
}
