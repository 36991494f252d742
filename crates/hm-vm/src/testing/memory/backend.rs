//! The backend of the in-memory double.

use async_trait::async_trait;
use bytes::Bytes;

use super::machine::MemoryVm;
use super::state::{Files, MemoryBackend, Sealed};
use crate::{CacheDirectory, Features, ImageConfig, PodId, PodRequest};
use crate::{
    ImageReference, ResolvedImage, Result, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend, VmError,
};
use hm_source::Source;

#[async_trait]
impl VmBackend for MemoryBackend {
    fn name(&self) -> &str {
        "memory"
    }

    fn default_image(&self) -> ImageReference {
        ImageReference::new(ImageReference::HOST)
    }

    fn features(&self) -> Features {
        self.features
    }

    async fn image_config(&self, image: &ResolvedImage) -> Result<ImageConfig> {
        let config = self.lock().configs.get(&image.reference).cloned();
        Ok(config.unwrap_or_default())
    }

    async fn open_pod(&self, request: &PodRequest) -> Result<PodId> {
        let mut state = self.lock();
        state.counters.pods_opened += 1;
        state.counters.pods_open += 1;
        let id = PodId(format!("memory-{}-{}", self.identity, state.counters.pods_opened));
        state.pods.add(id.clone(), request.clone());
        Ok(id)
    }

    async fn close_pod(&self, pod: &PodId) -> Result<()> {
        let mut state = self.lock();
        if state.pods.remove(pod) {
            state.counters.pods_open -= 1;
        }
        Ok(())
    }

    async fn cache_directories(&self) -> Result<Vec<CacheDirectory>> {
        let state = self.lock();
        let described = state.caches.iter().map(|(name, (files, used))| CacheDirectory {
            name: name.clone(),
            bytes: files_size(files),
            used: *used,
        });
        Ok(described.collect())
    }

    async fn remove_cache_directory(&self, name: &str) -> Result<u64> {
        let removed = self.lock().caches.remove(name);
        Ok(removed.map_or(0, |(files, _)| files_size(&files)))
    }

    fn prepare(&self, _parallelism: usize) {
        self.lock().counters.prepared += 1;
    }

    async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage> {
        if !self.images.contains(image) {
            return Err(VmError::ImageNotFound {
                image: image.clone(),
                reason: "the in-memory backend was not given it".into(),
            });
        }
        Ok(ResolvedImage {
            reference: image.clone(),
            digest: format!("memory:{image}"),
        })
    }

    async fn create(&self, _image: &ResolvedImage) -> Result<Box<dyn Vm>> {
        self.lock().counters.created += 1;
        self.take(|delays| delays.machine).await;
        Ok(Box::new(MemoryVm::new(self.clone(), Sealed::default())))
    }

    async fn restore(&self, snapshot: &SnapshotId) -> Result<Box<dyn Vm>> {
        let sealed = {
            let mut state = self.lock();
            let sealed = state.snapshots.get(snapshot).cloned();
            let sealed = sealed.ok_or_else(|| VmError::SnapshotNotFound(snapshot.clone()))?;
            state.counters.restored += 1;
            sealed
        };
        Ok(Box::new(MemoryVm::new(self.clone(), sealed)))
    }

    async fn check(&self, snapshot: &SnapshotId, source: &Source) -> Result<SnapshotCheck> {
        let mut state = self.lock();
        state.counters.checks += 1;
        let Some(sealed) = state.snapshots.get(snapshot) else {
            return Ok(SnapshotCheck::Missing);
        };
        let changed = sealed
            .shadows
            .iter()
            .find(|(path, entry)| &source.get(path) != *entry);
        Ok(match changed {
            None => SnapshotCheck::Usable,
            Some((path, _)) => SnapshotCheck::Stale(format!(
                "{}, which its snapshot had overwritten, has changed",
                path.display()
            )),
        })
    }

    async fn remove(&self, snapshot: &SnapshotId) -> Result<u64> {
        let removed = self.lock().snapshots.remove(snapshot);
        Ok(removed.map_or(0, |sealed| size(&sealed)))
    }

    async fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        Ok(self.lock().snapshots.get(snapshot).map_or(0, size))
    }

    async fn usage(&self) -> Result<Usage> {
        let state = self.lock();
        Ok(Usage {
            bytes: state.snapshots.values().map(size).sum(),
            snapshots: state.snapshots.len() as u64,
        })
    }

    async fn reclaim(&self) -> Result<()> {
        Ok(())
    }
}

fn size(sealed: &Sealed) -> u64 {
    files_size(&sealed.files)
}

fn files_size(files: &Files) -> u64 {
    let bytes: usize = files.values().flatten().map(Bytes::len).sum();
    bytes as u64
}
