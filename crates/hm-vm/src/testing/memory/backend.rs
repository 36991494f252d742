//! The store of the in-memory double, and what it counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::machine::MemoryVm;
use super::pods::Pods;
use crate::source::{Entry, Source};
use crate::{CacheDirectory, Features, ImageConfig, PodId, PodRequest};
use crate::{
    ImageReference, ResolvedImage, Result, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend, VmError,
};

/// What a [`MemoryBackend`] has been asked to do so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of [`VmBackend::prepare`].
    pub prepared: u64,
    /// Machines made from an image.
    pub created: u64,
    /// Machines made from a snapshot.
    pub restored: u64,
    /// Commands run.
    pub execs: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Snapshots checked.
    pub checks: u64,
    /// Machines that are there now.
    pub live: u64,
    /// Commands that run now.
    pub running: u64,
    /// The most commands that ever ran at once.
    pub most_running: u64,
    /// Pods opened.
    pub pods_opened: u64,
    /// Pods that are open now.
    pub pods_open: u64,
    /// Files copied out.
    pub exported: u64,
}

/// The files a machine wrote; `None` is a file it removed.
pub(super) type Files = BTreeMap<PathBuf, Option<Bytes>>;

/// What a snapshot holds: what was written, and the source's entries that this shadows.
#[derive(Debug, Clone, Default)]
pub(super) struct Sealed {
    pub(super) files: Arc<Files>,
    pub(super) shadows: Arc<BTreeMap<PathBuf, Option<Entry>>>,
}

/// What it can do unless it is told otherwise.
const EVERYTHING: Features = Features {
    pods: true,
    secrets: true,
    caches: true,
    exports: true,
    limits_memory: true,
    limits_cpus: true,
    limits_pids: true,
    limits_disk: true,
};

/// Tells one backend's snapshots from those of another one over the same registry.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Debug, Default)]
pub(super) struct State {
    snapshots: HashMap<SnapshotId, Sealed>,
    next: u64,
    pub(super) counters: Counters,
    pub(super) flaky: HashMap<String, u32>,
    pub(super) trace: Vec<String>,
    pub(super) pods: Pods,
    pub(super) caches: BTreeMap<String, (Arc<Files>, SystemTime)>,
    configs: HashMap<ImageReference, ImageConfig>,
}

/// A [`VmBackend`] that keeps everything in memory and interprets a strict subset of `sh`.
///
/// It knows `true`, `false`, `:`, `exit N`, `echo WORDS`, `printf WORD`, `seq N`, `head -c N /dev/zero`, `pwd`, `cat FILE`,
/// `rm FILE`, `mkdir -p DIRECTORY`,
/// `test -e FILE`, `sleep SECONDS` (tokio's time) and `kill -N $$`; `$NAME`, single and double quotes; `>`,
/// `>>` and `>&2`; and `;`, `&&`, `||` and newlines between commands. Beyond `sh` it knows `hm-infra`
/// (an infrastructure failure), `hm-panic`, `hm-oom` (killed at its memory limit) and `hm-flaky NAME N`
/// (fails the first N times that it is run under that name).
///
/// `hm-serve NAME [SECONDS]` is a server on its pod's network: it says `NAME serves`, and runs until it is killed, or
/// ends well after so many seconds. `hm-probe NAME [HOST]` passes while one of that name serves in the same pod; a
/// `HOST` other than `localhost` must be one of the pod's names.
///
/// Secrets are variables, and files that `cat /run/secrets/NAME` reads. `id -un` says who the command runs as.
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    state: Arc<Mutex<State>>,
    images: Arc<BTreeSet<ImageReference>>,
    features: Features,
    identity: u64,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::with_images(std::iter::empty::<String>())
    }
}

impl MemoryBackend {
    /// A backend with the image `host` alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A backend with these images beside `host`.
    pub fn with_images(images: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let images = images
            .into_iter()
            .map(|image| ImageReference::new(image.into()))
            .chain([ImageReference::new(ImageReference::HOST)])
            .collect();
        Self {
            state: Arc::default(),
            images: Arc::new(images),
            features: EVERYTHING,
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The same backend, which can do what these say. It can do everything otherwise.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Has one of its images say how it is run.
    pub fn configure(&self, image: impl Into<String>, config: ImageConfig) {
        self.lock().configs.insert(ImageReference::new(image), config);
    }

    /// The pods that are open now, with what they were asked to be.
    #[must_use]
    pub fn pods(&self) -> Vec<PodRequest> {
        self.lock().pods.open()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// The commands it ran, in the order they began.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// The snapshots it keeps.
    #[must_use]
    pub fn snapshots(&self) -> BTreeSet<SnapshotId> {
        self.lock().snapshots.keys().cloned().collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seal(&self, sealed: Sealed) -> SnapshotId {
        let mut state = self.lock();
        state.next += 1;
        state.counters.snapshots += 1;
        let id = SnapshotId(format!("memory-{}-{}", self.identity, state.next));
        state.snapshots.insert(id.clone(), sealed);
        id
    }
}

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
