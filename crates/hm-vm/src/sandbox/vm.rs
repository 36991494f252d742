//! One machine: a directory to write to above the layers of its snapshot and today's source.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::backend::{Inner, relative};
use super::client::{self, Supervisor};
use super::images::{Image, WORKSPACE};
use super::layers::{FileOp, FileReply, LayerChain, LiveLayer, RawPath, part_name, perform};
use super::protocol::{Ending, Overlay, Spawn};
use super::pump::{self, Stopped};
use super::stats::count;
use super::terminal;
use crate::source::Source;
use crate::{
    ExecOutcome, ExecRequest, KillReason, OutputChunk, Result, Snapshot, SnapshotId, Stream, Terminal, Vm,
    VmError,
};

/// How often a running command's use of the disk is looked at.
const DISK_WATCH: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct SandboxVm {
    backend: Arc<Inner>,
    image: Arc<Image>,
    chain: LayerChain,
    /// The snapshot that `chain` is of.
    base: Option<SnapshotId>,
    live: Option<LiveLayer>,
    /// Whether the work directories have been used: a volatile overlay takes each once.
    used: bool,
    source: Arc<Source>,
}

impl SandboxVm {
    pub(super) fn new(backend: Arc<Inner>, chain: LayerChain, base: Option<SnapshotId>) -> Result<Self> {
        let image = backend.image(&chain.image)?;
        Ok(Self {
            backend,
            image,
            chain,
            base,
            live: None,
            used: false,
            source: Arc::new(Source::empty()),
        })
    }

    /// The layer to write to, with fresh work directories.
    fn live(&mut self) -> Result<&mut LiveLayer> {
        if self.live.is_none() {
            let parts: Vec<_> = self
                .image
                .overlays
                .iter()
                .map(|(mount, _)| part_name(mount))
                .collect();
            self.live = Some(self.backend.layers.begin(&parts)?);
            self.used = false;
        }
        let used = std::mem::replace(&mut self.used, true);
        match &mut self.live {
            Some(live) => {
                if used {
                    live.reset_work()?;
                }
                Ok(live)
            }
            None => Err(VmError::Other("a machine without a layer".into())),
        }
    }

    fn overlays(&mut self) -> Result<Vec<Overlay>> {
        let image = self.image.clone();
        let data_dir = self.backend.config.data_dir.clone();
        let (chain, source) = (self.chain.clone(), self.source.clone());
        let live = self.live()?;
        let overlay = |(mount, base): &(PathBuf, Vec<PathBuf>)| {
            let part = part_name(mount);
            let mut lower = chain.lower_dirs(&part);
            if mount == Path::new(WORKSPACE) {
                lower.extend_from_slice(source.layers());
            }
            lower.extend_from_slice(base);
            if lower.is_empty() {
                lower.push(data_dir.join("sandbox/empty"));
            }
            let short = |path: PathBuf| relative(&data_dir, &path);
            Overlay {
                target: mount.clone(),
                lower: lower.into_iter().map(short).collect(),
                upper: short(live.upper(&part)),
                work: short(live.work(&part)),
            }
        };
        Ok(image.overlays.iter().map(overlay).collect())
    }

    fn start(&mut self, request: &ExecRequest, terminal: bool, fds: &[BorrowedFd<'_>]) -> Result<Running> {
        let overlays = self.overlays()?;
        let mut env = self.image.env.clone();
        env.extend(request.env.clone());
        let spawn = Spawn {
            overlays,
            binds: self.image.binds.clone(),
            argv: request.argv.clone(),
            env: env.into_iter().collect(),
            cwd: request.cwd.clone(),
            network: request.network,
            limits: request.limits.clone(),
            terminal,
        };
        let supervisor = self.backend.supervision.supervisor()?;
        let (id, ending) = supervisor.spawn(spawn, fds)?;
        count(&self.backend.counters.commands);
        Ok(Running {
            supervisor,
            id,
            ending: Some(ending),
        })
    }

    /// Resolves when the command uses more of the disk than it may.
    async fn watch_disk(&self, limit: Option<u64>) -> String {
        let Some(live) = &self.live else {
            return std::future::pending().await;
        };
        let uppers: Vec<_> = live.parts().iter().map(|part| live.upper(part)).collect();
        let root = self.backend.layers.root();
        loop {
            tokio::time::sleep(DISK_WATCH).await;
            let free = rustix::fs::statvfs(root).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize);
            let short = free < self.backend.config.min_free;
            if !short && limit.is_none() {
                continue;
            }
            let uppers = uppers.clone();
            let written = tokio::task::spawn_blocking(move || measure(&uppers))
                .await
                .unwrap_or(0);
            if let Some(limit) = limit.filter(|limit| written > *limit) {
                return format!("stopped: it had written {written} bytes, its disk limit is {limit}");
            }
            // Whoever has written little is not the one that fills the disk.
            if short && written > 16 << 20 {
                return format!(
                    "stopped: the disk is nearly full ({free} bytes free); it had written {written} bytes"
                );
            }
        }
    }
}

fn measure(uppers: &[PathBuf]) -> u64 {
    uppers
        .iter()
        .map(|upper| {
            match perform(FileOp::Measure {
                path: RawPath(upper.clone()),
            }) {
                Ok(FileReply::Measured { bytes, .. }) => bytes,
                _ => 0,
            }
        })
        .sum()
}

/// A command under way. Dropping it kills the command.
struct Running {
    supervisor: Arc<Supervisor>,
    id: u64,
    ending: Option<oneshot::Receiver<Ending>>,
}

impl Running {
    fn kill(&self, reason: KillReason) {
        self.supervisor.kill(self.id, reason);
    }

    async fn ending(&mut self) -> Result<ExecOutcome> {
        let Some(receiver) = self.ending.as_mut() else {
            return Err(client::gone());
        };
        let ending = receiver.await.map_err(|_| client::gone());
        self.ending = None;
        match ending? {
            Ending::Ran {
                status,
                killed,
                notes,
            } => Ok(ExecOutcome {
                status,
                killed,
                notes,
            }),
            Ending::NotSetUp(reason) => Err(VmError::Setup(reason)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ending.is_some() {
            self.kill(KillReason::Canceled);
        }
    }
}

#[async_trait]
impl Vm for SandboxVm {
    async fn inject(&mut self, source: Arc<Source>) -> Result<()> {
        self.source = source;
        Ok(())
    }

    async fn exec(
        &mut self,
        request: &ExecRequest,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<ExecOutcome> {
        let (stdout, stdout_writer) = pump::pipe()?;
        let (stderr, stderr_writer) = pump::pipe()?;
        let mut running = self.start(request, false, &[stdout_writer.as_fd(), stderr_writer.as_fd()])?;
        drop((stdout_writer, stderr_writer));

        let pumps = async {
            tokio::try_join!(
                pump::pump(stdout, Stream::Stdout, &output),
                pump::pump(stderr, Stream::Stderr, &output)
            )
        };
        tokio::pin!(pumps);
        let watch = self.watch_disk(request.limits.disk);
        tokio::pin!(watch);
        let (mut over_disk, mut cancel_told) = (None, false);
        let pumped = loop {
            tokio::select! {
                pumped = &mut pumps => break pumped,
                // Nobody has to read what a killed command had still to say.
                () = cancel.cancelled() => break Ok((Stopped::ListenerGone, Stopped::ListenerGone)),
                () = output.closed() => break Ok((Stopped::ListenerGone, Stopped::ListenerGone)),
                note = &mut watch, if over_disk.is_none() => {
                    over_disk = Some(note);
                    running.kill(KillReason::DiskFull);
                }
            }
        };
        let listened = match pumped {
            Ok(stopped) => stopped == (Stopped::End, Stopped::End),
            Err(error) => {
                return Err(VmError::Other(format!(
                    "cannot read the command's output: {error}"
                )));
            }
        };
        if !listened {
            running.kill(KillReason::Canceled);
        }
        // A command may close its outputs and go on.
        let mut outcome = loop {
            tokio::select! {
                outcome = running.ending() => break outcome?,
                () = cancel.cancelled(), if listened && !cancel_told => {
                    cancel_told = true;
                    running.kill(KillReason::Canceled);
                }
                note = &mut watch, if over_disk.is_none() => {
                    over_disk = Some(note);
                    running.kill(KillReason::DiskFull);
                }
            }
        };
        outcome.notes.extend(over_disk);
        Ok(outcome)
    }

    async fn attach(
        &mut self,
        request: &ExecRequest,
        terminal: Terminal,
        cancel: CancellationToken,
    ) -> Result<ExecOutcome> {
        let (ours, theirs) = terminal::open(terminal.size)?;
        let mut running = self.start(request, true, &[theirs.as_fd(), theirs.as_fd()])?;
        drop(theirs);
        let screen = terminal::relay(ours, terminal)?;
        let outcome = tokio::select! {
            outcome = running.ending() => outcome?,
            () = cancel.cancelled() => {
                running.kill(KillReason::Canceled);
                running.ending().await?
            }
        };
        // What the command wrote last is still in the terminal's buffer.
        let _ = tokio::time::timeout(Duration::from_secs(1), screen).await;
        Ok(outcome)
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        count(&self.backend.counters.snapshots);
        let layers = &self.backend.layers;
        let live = match (self.live.take(), &self.base) {
            // Who wrote nothing is where it began.
            (None, Some(base)) => return Ok(Snapshot { id: base.clone() }),
            (Some(live), Some(base)) if live.is_untouched() => {
                layers.give_back(live)?;
                return Ok(Snapshot { id: base.clone() });
            }
            (Some(live), _) => live,
            (None, None) => layers.begin(&[])?,
        };
        let (id, chain) = layers.seal(live, &self.chain, &self.source)?;
        self.chain = chain;
        self.base = Some(id.clone());
        Ok(Snapshot { id })
    }

    async fn destroy(mut self: Box<Self>) -> Result<()> {
        match self.live.take() {
            Some(live) => self.backend.layers.discard(live),
            None => Ok(()),
        }
    }
}
