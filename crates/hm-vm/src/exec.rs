//! What it takes to run one command in a [`crate::Vm`], and how that ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{CacheMount, PodId, Secrets};

/// Where the source lies in every machine, and where commands begin.
pub const WORKSPACE: &str = "/workspace";

/// How long a command that is terminated may take to end, where nobody says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What a command may reach over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Its own localhost, and connections out where this machine can give them.
    #[default]
    Outbound,
    /// Its own localhost alone.
    None,
}

/// What a command may use up. `None` means no limit of ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processor time in cores, such as 1.5.
    pub cpus: Option<f64>,
    /// Processes and threads at one time.
    pub pids: Option<u64>,
    /// Bytes written to the step's own layer.
    pub disk: Option<u64>,
}

/// The moment at which a command itself begins, with all that readies its machine behind it. Clones are one moment.
#[derive(Debug, Clone, Default)]
pub struct CommandStart(CancellationToken);

impl CommandStart {
    /// The command begins. A machine calls this once, in [`crate::Vm::exec`].
    pub fn mark(&self) {
        self.0.cancel();
    }

    /// Waits until the command has begun.
    pub async fn reached(&self) {
        self.0.cancelled().await;
    }
}

/// One command to run.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The program and its arguments, such as `["sh", "-c", "make"]`.
    pub argv: Vec<String>,
    /// The command's environment, added to what the image gives (`PATH`, `HOME`).
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// What it may use up.
    pub limits: Limits,
    /// What it may reach. Within a pod the pod decides.
    pub network: Network,
    /// Whose network it shares; `None` is one of its own.
    pub pod: Option<PodId>,
    /// The cache directories that it sees.
    pub caches: Vec<CacheMount>,
    /// What it is given that must not be stored.
    pub secrets: Secrets,
    /// Who it runs as, as an image's `User` writes it (`postgres`, `999:999`); `None` is root.
    pub user: Option<String>,
    /// How long it may take to end once it is terminated; none kills it at once.
    pub grace: Duration,
    /// Marked by the machine when the command itself begins.
    pub start: CommandStart,
}

impl ExecRequest {
    /// A shell command as a step runs it: `sh -c COMMAND` in `/workspace`.
    #[must_use]
    pub fn shell(command: impl Into<String>) -> Self {
        Self {
            argv: vec!["sh".into(), "-c".into(), command.into()],
            env: BTreeMap::new(),
            cwd: PathBuf::from(WORKSPACE),
            limits: Limits::default(),
            network: Network::default(),
            pod: None,
            caches: Vec::new(),
            secrets: Secrets::default(),
            user: None,
            grace: DEFAULT_GRACE,
            start: CommandStart::default(),
        }
    }
}

/// One of a command's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes that a command wrote, in the order it wrote them to that stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where they were written.
    pub stream: Stream,
    /// The bytes, at most 64 KiB.
    pub bytes: Bytes,
}

/// How a command's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl ExitStatus {
    /// The code as a shell tells it: 128 + n when signal n killed the process.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Why hm, and not the command itself, ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KillReason {
    /// The caller's [`crate::Cancel`].
    Canceled,
    /// It used up its memory limit.
    OutOfMemory,
    /// It used up its disk limit, or the disk was about to be full.
    DiskFull,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    /// How its process ended.
    pub status: ExitStatus,
    /// Set when hm ended it.
    pub killed: Option<KillReason>,
    /// Plain words about a limit that the command ran into, whether or not it was killed for it.
    pub notes: Vec<String>,
}

/// A terminal's size in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What a person's terminal sends to an interactive command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalInput {
    /// Keys.
    Bytes(Bytes),
    /// The terminal has another size now.
    Resize(TerminalSize),
}

/// The two ends of a person's terminal, for [`crate::Vm::attach`].
#[derive(Debug)]
pub struct Terminal {
    /// The size at the start.
    pub size: TerminalSize,
    /// What the person types.
    pub input: mpsc::Receiver<TerminalInput>,
    /// What the command draws.
    pub output: mpsc::Sender<Bytes>,
}
