//! What the in-memory double keeps, and what it counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::pods::Pods;
use crate::{Features, ImageConfig, ImageReference, PodRequest, SnapshotId};
use hm_source::Entry;

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

/// Tells one backend's snapshots from those of another one over the same registry.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) snapshots: HashMap<SnapshotId, Sealed>,
    pub(super) next: u64,
    pub(super) counters: Counters,
    pub(super) flaky: HashMap<String, u32>,
    pub(super) trace: Vec<String>,
    pub(super) pods: Pods,
    pub(super) caches: BTreeMap<String, (Arc<Files>, SystemTime)>,
    pub(super) configs: HashMap<ImageReference, ImageConfig>,
    pub(super) delays: Delays,
}

/// How long, in tokio's time, a [`MemoryBackend`] takes for what a real one may be slow at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delays {
    /// Making a machine.
    pub machine: Duration,
    /// What a command waits for before it begins.
    pub start: Duration,
    /// Taking a snapshot.
    pub snapshot: Duration,
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
    pub(super) images: Arc<BTreeSet<ImageReference>>,
    pub(super) features: Features,
    pub(super) identity: u64,
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
            features: Features::ALL,
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

    /// Has it take its time from now on.
    pub fn delay(&self, delays: Delays) {
        self.lock().delays = delays;
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

    /// Waits for what it takes to do this.
    pub(super) async fn take(&self, delay: impl Fn(&Delays) -> Duration) {
        let delay = delay(&self.lock().delays);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
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
