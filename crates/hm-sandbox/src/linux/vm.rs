//! One machine: a directory to write to above the layers of its snapshot and today's source.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::caches::CacheViews;
use super::client;
use super::export::CopyOut;
use super::hints::Hints;
use super::images::Image;
use super::layers::{FileOp, FileReply, LayerChain, RawPath, perform};
use super::order::order;
use super::pump::{self, Stopped};
use super::roots::{MountedRoot, Stack};
use super::running::{Abandoned, Running, Stage, Stages};
use super::shared::Shared;
use super::stats::count;
use super::terminal;
use hm_fs::Marks;
use hm_source::Source;
use hm_vm::blocking;
use hm_vm::patterns::Patterns;
use hm_vm::{
    Cancel, ExecOutcome, ExecRequest, Export, Exported, KillReason, OutputChunk, Result, Snapshot,
    SnapshotId, Stream, Terminal, Vm, VmError,
};

/// How often a running command's use of the disk is looked at.
const DISK_WATCH: Duration = Duration::from_millis(200);

/// Which part of all files that a disk can hold steps leave free, and the most of them.
const FILES_LEFT: u64 = 20;
const MOST_FILES_LEFT: u64 = 100_000;

/// How long a slow reader may take to read what a command that was terminated said last.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct SandboxVm {
    backend: Arc<Shared>,
    image: Arc<Image>,
    chain: LayerChain,
    /// The snapshot that `chain` is of.
    base: Option<SnapshotId>,
    /// Mounted when a command first runs, until a snapshot is taken.
    root: OnceLock<MountedRoot>,
    /// Two commands at once mount one root.
    mounting: Mutex<()>,
    abandoned: Abandoned,
    source: Arc<Source>,
}

impl SandboxVm {
    pub(super) fn new(backend: Arc<Shared>, chain: LayerChain, base: Option<SnapshotId>) -> Result<Self> {
        let image = backend.image(&chain.image)?;
        Ok(Self {
            backend,
            image,
            chain,
            base,
            root: OnceLock::new(),
            mounting: Mutex::default(),
            abandoned: Abandoned::default(),
            source: Arc::new(Source::empty()),
        })
    }

    /// The root that this machine's commands run in.
    fn root(&self) -> Result<&MountedRoot> {
        let _one_at_a_time = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.root.get().is_none() {
            let Shared {
                layers,
                supervision,
                spares,
                ..
            } = self.backend.as_ref();
            let empty = layers.root().join("empty");
            let stack = Stack::new(&self.image, &self.source, &self.chain, &empty);
            let root = spares.take((layers, supervision), &self.image, stack, &self.source)?;
            return Ok(self.root.get_or_init(|| root));
        }
        self.root.get().ok_or_else(client::gone)
    }

    async fn start(
        &self,
        request: &ExecRequest,
        terminal: bool,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Running<'_>> {
        let caches = self.begin_caches(request).await?;
        let root = self.root()?;
        let mut spawn = order(&self.backend, &self.image, root, request, caches.as_ref())?;
        spawn.terminal = terminal;
        let supervisor = root.supervisor.clone();
        let (id, ending) = supervisor.spawn(spawn, fds, request.start.clone())?;
        count(&self.backend.counters.commands);
        Ok(Running {
            supervisor,
            id,
            ending: Some(ending),
            caches,
            abandoned: &self.abandoned,
        })
    }

    /// A set-up failure with the doctor's verdict.
    fn explained<T>(&self, result: Result<T>) -> Result<T> {
        let config = &self.backend.config;
        result.map_err(|error| match error {
            VmError::Setup(reason) if reason.contains("cannot mount") || reason.contains("not permitted") => {
                VmError::Setup(super::doctor::explain(config, &reason))
            }
            error => error,
        })
    }

    async fn begin_caches(&self, request: &ExecRequest) -> Result<Option<CacheViews>> {
        if request.caches.is_empty() {
            return Ok(None);
        }
        let (store, mounts) = (self.backend.caches.clone(), request.caches.clone());
        blocking(move || store.begin(&mounts)).await.map(Some)
    }

    /// Keeps what a command wrote to its cache directories, or throws it away. One that cannot be kept is as it was before.
    async fn end_caches(&self, caches: Option<CacheViews>, outcome: &mut ExecOutcome) {
        let Some(caches) = caches else { return };
        let (store, ended) = (self.backend.caches.clone(), outcome.clone());
        if let Err(error) = blocking(move || store.end(caches, &ended)).await {
            outcome.notes.push(format!(
                "what it wrote to its cache directories is not all kept: {error}"
            ));
        }
    }

    /// Resolves when the command uses more of the disk than it may.
    async fn watch_disk(&self, limit: Option<u64>, caches: Vec<PathBuf>) -> String {
        let Some(root) = self.root.get() else {
            return std::future::pending().await;
        };
        let uppers = written_to(root, caches);
        let root = self.backend.layers.root();
        let (mut pause, mut before) = (DISK_WATCH, None);
        loop {
            tokio::time::sleep(pause).await;
            let Ok(disk) = rustix::fs::statvfs(root) else {
                continue;
            };
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            // Some file systems have as many files as they have space, and count none.
            let few_files =
                disk.f_files > 0 && disk.f_favail < (disk.f_files / FILES_LEFT).min(MOST_FILES_LEFT);
            let short = few_files || free < self.backend.config.min_free;
            let now = Some((free, disk.f_favail));
            if !short && (limit.is_none() || now == before) {
                continue;
            }
            before = now;
            let uppers = uppers.clone();
            let began = tokio::time::Instant::now();
            let written = tokio::task::spawn_blocking(move || measure(&uppers)).await;
            let (written, files) = written.unwrap_or_default();
            // A large tree takes long to look through: a twentieth of the time at most.
            pause = DISK_WATCH.max(began.elapsed() * 19);
            if let Some(limit) = limit.filter(|limit| written > *limit) {
                return format!("stopped: it had written {written} bytes, its disk limit is {limit}");
            }
            // Whoever has written little is not the one that fills the disk.
            if few_files && files > 4096 {
                return format!(
                    "stopped: the disk can hold hardly any more files ({} are left); it had made {files}",
                    disk.f_favail
                );
            }
            if short && written > 16 << 20 {
                return format!(
                    "stopped: the disk is nearly full ({free} bytes free); it had written {written} bytes"
                );
            }
        }
    }
}

/// Waits until a time; for ever where there is none.
async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The directories that a command writes to.
fn written_to(root: &MountedRoot, caches: Vec<PathBuf>) -> Vec<PathBuf> {
    let uppers = root.live.parts().iter().map(|part| root.live.upper(part));
    uppers.chain(caches).collect()
}

/// The bytes and the files that were written there.
fn measure(uppers: &[PathBuf]) -> (u64, u64) {
    let measured = uppers.iter().map(|upper| {
        match perform(FileOp::Measure {
            path: RawPath(upper.clone()),
        }) {
            Ok(FileReply::Measured { bytes, files, .. }) => (bytes, files),
            _ => (0, 0),
        }
    });
    measured.fold((0, 0), |(bytes, files), (more, others)| {
        (bytes + more, files + others)
    })
}

#[async_trait]
impl Vm for SandboxVm {
    async fn inject(&mut self, source: Arc<Source>) -> Result<()> {
        self.source = source;
        Ok(())
    }

    async fn exec(
        &self,
        request: &ExecRequest,
        output: mpsc::Sender<OutputChunk>,
        cancel: Cancel,
    ) -> Result<ExecOutcome> {
        let (stdout, stdout_writer) = pump::pipe()?;
        let (stderr, stderr_writer) = pump::pipe()?;
        let fds = [stdout_writer.as_fd(), stderr_writer.as_fd()];
        let mut running = self.explained(self.start(request, false, &fds).await)?;
        drop((stdout_writer, stderr_writer));

        let identity = self.backend.supervision.identity();
        let hints =
            Hints::new(identity, Marks::of_process(), &request.caches).nested(self.backend.config.nested);
        let pumps = async {
            tokio::try_join!(
                pump::pump(stdout, Stream::Stdout, &output, &hints),
                pump::pump(stderr, Stream::Stderr, &output, &hints)
            )
        };
        tokio::pin!(pumps);
        let caches = running.caches.iter().flat_map(CacheViews::overlays);
        let caches: Vec<PathBuf> = caches.map(|cache| cache.upper).collect();
        let watch = self.watch_disk(request.limits.disk, caches.clone());
        tokio::pin!(watch);
        let mut over_disk = None;
        let mut stages = Stages::new(cancel, request.grace);
        let (mut listening, mut ended, mut drained) = (true, None, None);
        let mut outcome: ExecOutcome = loop {
            if ended.is_some() && stages.has_begun() && drained.is_none() {
                drained = Some(tokio::time::Instant::now() + LAST_WORDS);
            }
            ended = match ended {
                Some(outcome) if !listening => break outcome,
                ended => ended,
            };
            tokio::select! {
                pumped = &mut pumps, if listening => {
                    listening = false;
                    match pumped {
                        // A command may close its outputs and go on.
                        Ok((Stopped::End, Stopped::End)) => {}
                        Ok(_) => running.kill(KillReason::Canceled),
                        Err(error) => {
                            return Err(VmError::Other(format!("cannot read the command's output: {error}")));
                        }
                    }
                }
                () = output.closed(), if listening => {
                    listening = false;
                    running.kill(KillReason::Canceled);
                }
                outcome = running.ending(), if ended.is_none() => ended = Some(self.explained(outcome)?),
                stage = stages.next() => {
                    running.advance(stage);
                    // Nobody has to read what a killed command had still to say.
                    listening &= stage == Stage::Terminate;
                }
                () = until(drained) => listening = false,
                note = &mut watch, if over_disk.is_none() && ended.is_none() => {
                    over_disk = Some(note);
                    running.kill(KillReason::DiskFull);
                }
            }
        };
        // Whoever writes fast enough has ended before anybody looked.
        if let (None, None, Some(limit), Some(root)) =
            (&over_disk, outcome.killed, request.limits.disk, self.root.get())
        {
            let uppers = written_to(root, caches);
            let measured = tokio::task::spawn_blocking(move || measure(&uppers)).await;
            let (written, _) = measured.unwrap_or_default();
            if written > limit {
                outcome.killed = Some(KillReason::DiskFull);
                over_disk = Some(format!(
                    "it had written {written} bytes when it ended, its disk limit is {limit}"
                ));
            }
        }
        outcome.notes.extend(over_disk);
        hints.explain(&mut outcome);
        self.end_caches(running.caches.take(), &mut outcome).await;
        Ok(outcome)
    }

    async fn attach(&self, request: &ExecRequest, terminal: Terminal, cancel: Cancel) -> Result<ExecOutcome> {
        let (ours, theirs) = terminal::open(terminal.size)?;
        let fds = [theirs.as_fd(), theirs.as_fd()];
        let mut running = self.explained(self.start(request, true, &fds).await)?;
        drop(theirs);
        let screen = terminal::relay(ours, terminal)?;
        let mut stages = Stages::new(cancel, request.grace);
        let mut outcome = loop {
            tokio::select! {
                outcome = running.ending() => break self.explained(outcome)?,
                stage = stages.next() => running.advance(stage),
            }
        };
        // What the command wrote last is still in the terminal's buffer.
        let _ = tokio::time::timeout(Duration::from_secs(1), screen).await;
        self.end_caches(running.caches.take(), &mut outcome).await;
        Ok(outcome)
    }

    async fn export(&self, what: &Export, into: &Path) -> Result<Exported> {
        // What is no pattern is told before anything is done.
        Patterns::compile(&what.patterns)?;
        let directory = std::fs::File::open(into).map_err(VmError::io("cannot open", into))?;
        let root = self.root()?;
        let order = CopyOut {
            root: root.id,
            patterns: what.patterns.clone(),
            max_bytes: what.max_bytes,
            max_files: what.max_files,
        };
        let supervisor = root.supervisor.clone();
        blocking(move || supervisor.copy_out(order, directory.as_fd())).await
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        count(&self.backend.counters.snapshots);
        self.abandoned.settle().await;
        let layers = &self.backend.layers;
        let live = match (self.root.take(), &self.base) {
            // Who wrote nothing is where it began.
            (None, Some(base)) => return Ok(Snapshot { id: base.clone() }),
            (Some(root), Some(base)) if root.live.is_untouched() => {
                self.backend.spares.give_back(root);
                return Ok(Snapshot { id: base.clone() });
            }
            (Some(root), _) => root.unmount(),
            (None, None) => layers.begin(&[])?,
        };
        let (id, chain) = layers.seal(live, &self.chain, &self.source)?;
        self.chain = chain;
        self.base = Some(id.clone());
        Ok(Snapshot { id })
    }

    async fn destroy(mut self: Box<Self>) -> Result<()> {
        self.abandoned.settle().await;
        match self.root.take() {
            Some(root) if root.live.is_untouched() => {
                self.backend.spares.give_back(root);
                Ok(())
            }
            Some(root) => self.backend.layers.discard(root.unmount()),
            None => Ok(()),
        }
    }
}

impl Drop for SandboxVm {
    fn drop(&mut self) {
        if let Some(root) = self.root.take() {
            drop(root.unmount());
        }
    }
}
