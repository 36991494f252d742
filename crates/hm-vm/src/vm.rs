//! The two traits that every kind of virtual machine implements.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    CacheDirectory, Cancel, Export, Exported, Features, ImageConfig, Images, PodId, PodRequest, VmError,
};
use crate::{ExecOutcome, ExecRequest, ImageReference, OutputChunk, ResolvedImage, Result, Terminal};
use hm_source::Source;

/// Identifies a snapshot within its backend: letters, digits, `-`, `_`, `.` and `:` only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub String);

impl std::fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot that has just been taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its identity.
    pub id: SnapshotId,
}

/// Whether a snapshot can be restored over today's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotCheck {
    /// It can.
    Usable,
    /// It is gone.
    Missing,
    /// It shadows source files that have changed since; the words say which.
    Stale(String),
}

/// What a backend's snapshots take up on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of real blocks.
    pub bytes: u64,
    /// How many snapshots there are.
    pub snapshots: u64,
}

/// A kind of virtual machine: makes one from an image or from a snapshot, and keeps the snapshots.
///
/// Every method may be called from many tasks at once, and many processes may use one store at once.
#[async_trait]
pub trait VmBackend: Send + Sync + Debug {
    /// A stable name for diagnostics and for the store: `sandbox`, `docker`, `qemu`.
    fn name(&self) -> &str;

    /// What a step without an image starts from.
    fn default_image(&self) -> ImageReference;

    /// Plain words about what this machine cannot give (limits, network), for the run's header.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it can do of what not every backend can.
    fn features(&self) -> Features {
        Features::default()
    }

    /// Whether this machine can run it at all, found out in a moment: asked before anything else of a run.
    ///
    /// # Errors
    /// What is missing (a daemon, a kernel feature), too old or full, and what to do.
    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// The images that it keeps, where it keeps any.
    fn images(&self) -> Option<&dyn Images> {
        None
    }

    /// Readies what the first `parallelism` machines will need, in the background; called once a run
    /// knows that a step must run. Never called for a run that is all cache hits.
    fn prepare(&self, parallelism: usize) {
        let _ = parallelism;
    }

    /// Finds an image and pins it. Starts nothing.
    ///
    /// # Errors
    /// [`crate::VmError::ImageNotFound`] says what would help.
    async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage>;

    /// What changed in an image since it had the digest that `was` recognises, in a few words; nothing where that is
    /// not known.
    fn image_changes(&self, image: &ResolvedImage, was: &dyn Fn(&str) -> bool) -> Option<String> {
        let _ = (image, was);
        None
    }

    /// What an image says about how it is run. An image that says nothing has the default.
    ///
    /// # Errors
    /// When the image went away.
    async fn image_config(&self, image: &ResolvedImage) -> Result<ImageConfig> {
        let _ = image;
        Ok(ImageConfig::default())
    }

    /// A network for machines to share. It lives until [`VmBackend::close_pod`], or this backend's end.
    ///
    /// # Errors
    /// When it cannot be made; [`VmError::Unsupported`] where there are none.
    async fn open_pod(&self, request: &PodRequest) -> Result<PodId> {
        let _ = request;
        Err(VmError::Unsupported {
            what: "a network that machines share".into(),
            reason: format!("{} has none", self.name()),
        })
    }

    /// Gives a pod up. No command of it runs any more. One that is not there is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    async fn close_pod(&self, pod: &PodId) -> Result<()> {
        let _ = pod;
        Ok(())
    }

    /// The cache directories that it keeps.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn cache_directories(&self) -> Result<Vec<CacheDirectory>> {
        Ok(Vec::new())
    }

    /// The same as far as it is known in a moment: the sizes may be those of some time ago.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn cache_directories_at_hand(&self) -> Result<Vec<CacheDirectory>> {
        self.cache_directories().await
    }

    /// Removes a cache directory that no command uses, and returns how many bytes of real blocks that freed.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    async fn remove_cache_directory(&self, name: &str) -> Result<u64> {
        let _ = name;
        Ok(0)
    }

    /// A fresh machine from an image.
    ///
    /// # Errors
    /// When the image went away or the machine cannot be made.
    async fn create(&self, image: &ResolvedImage) -> Result<Box<dyn Vm>>;

    /// A machine that starts from a snapshot. Ten of them from one snapshot are ten forks.
    ///
    /// # Errors
    /// [`crate::VmError::SnapshotNotFound`], or when the machine cannot be made.
    async fn restore(&self, snapshot: &SnapshotId) -> Result<Box<dyn Vm>>;

    /// Whether a snapshot can be restored over `source`. Boots nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn check(&self, snapshot: &SnapshotId, source: &Source) -> Result<SnapshotCheck>;

    /// Removes a snapshot and returns how many bytes of real blocks that freed: none when others still
    /// build on it. A snapshot that is not there is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    async fn remove(&self, snapshot: &SnapshotId) -> Result<u64>;

    /// How many bytes of real blocks [`VmBackend::remove`] would free, as far as that is known without
    /// removing anything: none when others still build on all of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        let _ = snapshot;
        Ok(0)
    }

    /// Every snapshot in the store and when it was taken, so that the registry finds those that nobody
    /// registered. A backend that lists none has none cleaned up in that way.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn snapshots(&self) -> Result<Vec<(SnapshotId, SystemTime)>> {
        Ok(Vec::new())
    }

    /// What all snapshots take up, measured on real blocks and each block once.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn usage(&self) -> Result<Usage>;

    /// Removes what processes that were killed have left behind (half-made machines, temporary
    /// directories) and nothing that a living process uses.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    async fn reclaim(&self) -> Result<()>;

    /// Gives up what it keeps of sources so that the next run begins faster. What a machine uses stays.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    async fn forget_sources(&self) -> Result<()> {
        Ok(())
    }

    /// Stops whatever this backend keeps running between machines. Idempotent; also happens on drop.
    async fn shutdown(&self) {}
}

/// One virtual machine. Dropping it without [`Vm::destroy`] must not leave a process behind.
#[async_trait]
pub trait Vm: Send + Sync + Debug {
    /// Lays the source at `/workspace`, under what the machine's snapshot wrote there. Called once, before
    /// the first [`Vm::exec`].
    ///
    /// # Errors
    /// When the source cannot be laid.
    async fn inject(&mut self, source: Arc<Source>) -> Result<()>;

    /// Runs a command to its end. Every byte it writes goes to `output`, in order within each stream; a slow
    /// receiver slows the command, and one that is gone ends it. When this returns, no process of the command
    /// is left, background ones included. Several commands may run at once: they see each other's files, not each
    /// other's processes.
    ///
    /// [`Cancel::terminate`] sends SIGTERM to every process of the command, wherever in its tree. What does not handle
    /// the signal ends by it; a command that does has the request's grace, and what it writes meanwhile still goes to
    /// `output`. It is over when the command exits, or, where the command itself did not handle the signal, when
    /// no process is left that does; what is left at the grace's end is killed. [`Cancel::kill`] kills all of
    /// them at once. The outcome of a command that either reached says [`crate::KillReason::Canceled`], whatever its
    /// exit status; one that had already ended by itself has its own outcome. A backend that cannot
    /// send signals kills at once.
    ///
    /// # Errors
    /// An infrastructure failure; a command that fails is `Ok`.
    async fn exec(
        &self,
        request: &ExecRequest,
        output: mpsc::Sender<OutputChunk>,
        cancel: Cancel,
    ) -> Result<ExecOutcome>;

    /// Runs a command on a terminal, for a person. It ends as that of [`Vm::exec`] does.
    ///
    /// # Errors
    /// As [`Vm::exec`].
    async fn attach(&self, request: &ExecRequest, terminal: Terminal, cancel: Cancel) -> Result<ExecOutcome>;

    /// Copies files of `/workspace` into the empty directory `into` of the host. They belong to the caller.
    ///
    /// # Errors
    /// When a pattern is none, or a copy cannot be made; [`VmError::Unsupported`] where files cannot leave.
    async fn export(&self, what: &Export, into: &Path) -> Result<Exported> {
        let _ = (what, into);
        Err(VmError::Unsupported {
            what: "copying files out of a step".into(),
            reason: "this backend cannot".into(),
        })
    }

    /// Seals what was written so far into a snapshot. The machine can be used on; what it writes from then on
    /// is not in that snapshot.
    ///
    /// # Errors
    /// When it cannot be stored.
    async fn snapshot(&mut self) -> Result<Snapshot>;

    /// Ends the machine and removes what it wrote since its last snapshot.
    ///
    /// # Errors
    /// When something cannot be removed.
    async fn destroy(self: Box<Self>) -> Result<()>;
}
