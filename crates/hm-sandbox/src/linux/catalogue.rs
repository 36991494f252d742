//! The images that the sandbox keeps, for whoever lists, fetches and removes them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::shared::Shared;
use hm_vm::blocking;
use hm_vm::{ImageReference, Images, ResolvedImage, Result, SnapshotId, StoredImage};

/// An image that nothing was started from for so long goes when room is made.
const UNUSED: Duration = Duration::from_secs(60 * 24 * 60 * 60);

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
