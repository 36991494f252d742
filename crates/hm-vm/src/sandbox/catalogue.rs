//! The images that the sandbox keeps, for whoever lists, fetches and removes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::layers::{FileOp, FileOps, FileReply};
use super::shared::Shared;
use super::supervision::Supervision;
use super::tarball;
use crate::oci::LayerFiles;
use crate::oci::unpack::Unpack;
use crate::{ImageReference, Images, ResolvedImage, Result, SnapshotId, StoredImage, VmError};

/// An image that nothing was started from for so long goes when room is made.
const UNUSED: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// The store's files, handled where their owners exist.
#[derive(Debug)]
pub(super) struct ImageFiles {
    pub supervision: Arc<Supervision>,
    pub files: Arc<dyn FileOps>,
}

impl FileOps for ImageFiles {
    fn run(&self, op: FileOp) -> Result<FileReply> {
        self.files.run(op)
    }
}

impl LayerFiles for ImageFiles {
    fn unpack(&self, order: Unpack, report: PathBuf) -> Result<()> {
        self.supervision.unpack(tarball::Unpack {
            order,
            report: Some(report),
        })
    }
}

impl Shared {
    /// The images that snapshots were taken on.
    fn wanted(&self) -> Result<BTreeSet<String>> {
        let snapshots = self.layers.snapshots()?;
        let image = |id: &SnapshotId| self.layers.load(id).ok().map(|chain| chain.image.digest);
        Ok(snapshots.iter().filter_map(|(id, _)| image(id)).collect())
    }
}

#[async_trait]
impl Images for Shared {
    async fn list(&self) -> Result<Vec<StoredImage>> {
        let store = self.store.clone();
        blocking(move || store.list()).await
    }

    async fn pull(&self, image: &ImageReference) -> Result<ResolvedImage> {
        self.store.pull(image).await
    }

    async fn import(&self, path: &Path, name: &ImageReference) -> Result<ResolvedImage> {
        match self.store.import(path, name).await? {
            Some(image) => Ok(image),
            None => self.store.import_root(path, name).await,
        }
    }

    async fn remove(&self, image: &str) -> Result<u64> {
        let (store, image) = (self.store.clone(), image.to_owned());
        blocking(move || store.remove(&image)).await
    }

    async fn usage(&self) -> Result<u64> {
        let store = self.store.clone();
        blocking(move || store.usage()).await
    }

    async fn collect(&self, max_bytes: u64) -> Result<u64> {
        let (store, wanted) = (self.store.clone(), self.wanted()?);
        blocking(move || store.collect(max_bytes, Some(UNUSED), &wanted)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| VmError::Other(format!("a task of the sandbox failed: {error}")))?
}
