//! The two traits that every kind of virtual machine implements.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::source::Source;
use crate::{ExecOutcome, ExecRequest, ImageReference, OutputChunk, ResolvedImage, Result, Terminal};

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

    /// Stops whatever this backend keeps running between machines. Idempotent; also happens on drop.
    async fn shutdown(&self) {}
}

/// One virtual machine. Dropping it without [`Vm::destroy`] must not leave a process behind.
#[async_trait]
pub trait Vm: Send + Debug {
    /// Lays the source at `/workspace`, under what the machine's snapshot wrote there. Called once, before
    /// the first [`Vm::exec`].
    ///
    /// # Errors
    /// When the source cannot be laid.
    async fn inject(&mut self, source: Arc<Source>) -> Result<()>;

    /// Runs a command to its end. Every byte it writes goes to `output`, in order within each stream; a slow
    /// receiver slows the command, and one that is gone ends it. When this returns, no process of the command
    /// is left, background ones included. `cancel` kills all of them at once.
    ///
    /// # Errors
    /// An infrastructure failure; a command that fails is `Ok`.
    async fn exec(
        &mut self,
        request: &ExecRequest,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<ExecOutcome>;

    /// Runs a command on a terminal, for a person.
    ///
    /// # Errors
    /// As [`Vm::exec`].
    async fn attach(
        &mut self,
        request: &ExecRequest,
        terminal: Terminal,
        cancel: CancellationToken,
    ) -> Result<ExecOutcome>;

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
