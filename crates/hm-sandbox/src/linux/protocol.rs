//! What hm and its supervisor process say to each other over one Unix socket.
//!
//! A message is a 4-byte little-endian length and that many bytes of postcard. Descriptors travel with the
//! length. Both ends are the same binary, so the form needs no version.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::export::{Copied, CopyOut};
use super::hidden::Hidden;
use super::layers::{FileOp, FileReply};
use super::tarball::Unpack;
use hm_vm::{ExitStatus, KillReason, Limits, Network};

/// The address at which a step finds the host's resolver; `/etc/resolv.conf` of the frame names it.
pub(super) const RESOLVER: &str = "169.254.1.1";

/// More than any message of ours; a longer one means that the other end is not ours.
const MAX_MESSAGE: usize = 64 << 20;
const MAX_FDS: usize = 4;
const ROOM: usize = 4 * 1024;

/// Who the supervisor is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Identity {
    /// Real root: no user namespace.
    Root,
    /// An ordinary user, alone mapped to root.
    Single {
        /// The user outside.
        uid: u32,
        /// The user's group outside.
        gid: u32,
    },
    /// An ordinary user with a range of subordinate ids, which hm maps by `newuidmap`.
    Range,
}

/// How the supervisor sets itself up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Setup {
    pub identity: Identity,
    /// Where it works: layer paths may be relative to this.
    pub data_dir: PathBuf,
    /// An empty directory on which each step's root is mounted, in the step's own mount namespace.
    pub stage: PathBuf,
    /// `pasta`, where it is installed and wanted.
    pub pasta: Option<PathBuf>,
}

/// One overlay of a step's root, in the order of mounting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Overlay {
    /// Where it is mounted, as the step sees it.
    pub target: PathBuf,
    /// Topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// A directory or file of the host that a step sees read-only at `target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
}

/// A machine's root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Root {
    pub overlays: Vec<Overlay>,
    pub binds: Vec<Bind>,
}

/// A command to run in a sandbox of its own. Its descriptors are standard output and standard error, or the
/// terminal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spawn {
    /// The root that it runs in, mounted by [`Request::Mount`].
    pub root: u64,
    pub argv: Vec<String>,
    /// What the image gives; `HOME`, `USER` and `LOGNAME` are another user's where the command is one's.
    pub defaults: Vec<(String, String)>,
    /// What was asked for, over the defaults.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// Within a pod, the pod's.
    pub network: Network,
    /// Opened by [`Request::OpenPod`].
    pub pod: Option<u64>,
    pub user: Option<String>,
    /// Variables over all others.
    pub secrets: Vec<(String, Hidden)>,
    /// Files by their names in [`hm_vm::SECRETS_DIR`].
    pub secret_files: Vec<(String, Hidden)>,
    /// Cache directories, in the order of mounting.
    pub caches: Vec<Overlay>,
    pub limits: Limits,
    /// It may make user namespaces.
    pub nested: bool,
    pub terminal: bool,
}

/// What hm asks of the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The first message.
    Setup(Setup),
    /// The user namespace has its id maps now.
    Mapped,
    /// Ready what this many steps at once will need.
    Prepare(usize),
    /// Mount a root under this number.
    Mount(u64, Box<Root>),
    /// Unmount it again; no command is in it.
    Unmount(u64),
    /// Open a pod under this number: its network, and the names that lead to its localhost.
    OpenPod(u64, Network, Vec<String>),
    /// Give it up once no command is in it.
    ClosePod(u64),
    Spawn(u64, Box<Spawn>),
    Kill(u64, KillReason),
    /// Ask a command's processes to end.
    Terminate(u64),
    Work(u64, Work),
}

/// File operations, done by a process of their own in the run's user namespace.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Work {
    Layers(FileOp),
    Unpack(Unpack),
    /// Its descriptor is the directory to copy to.
    CopyOut(CopyOut),
}

/// What came of a [`Work`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Worked {
    Layers(FileReply),
    Unpacked,
    CopiedOut(Copied),
}

/// How a spawned command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// It ran.
    Ran {
        status: ExitStatus,
        killed: Option<KillReason>,
        notes: Vec<String>,
    },
    /// Its sandbox could not be set up.
    NotSetUp(String),
}

/// What the supervisor answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is in its user namespace and waits for [`Request::Mapped`].
    WantsMapping,
    /// It takes requests from now on. The words are for the run's header.
    Ready,
    /// It cannot work at all on this machine.
    Failed(String),
    /// A command's first process is there: all that it waited for is.
    Started(u64),
    Ended(u64, Ending),
    Worked(u64, Result<Worked, String>),
}

/// Sends one message.
pub(super) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    // Room for any message with secrets in it: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(ROOM);
    bytes.extend_from_slice(&[0; 4]);
    let mut bytes = Zeroizing::new(postcard::to_extend(message, bytes).map_err(io::Error::other)?);
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let mut sent = retry(|| {
        rustix::net::sendmsg(
            socket,
            &[io::IoSlice::new(&bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    while sent < bytes.len() {
        sent += retry(|| rustix::net::send(socket, &bytes[sent..], SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// Receives one message and its descriptors; `None` when the other end is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0_u8; 4];
    let mut fds = Vec::new();
    let mut filled = 0;
    while filled < header.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry(|| {
            rustix::net::recvmsg(
                socket,
                &mut [io::IoSliceMut::new(&mut header[filled..])],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        filled += received.bytes;
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::other("a message that is too long"));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    let mut filled = 0;
    while filled < length {
        match retry(|| rustix::net::recv(socket.as_fd(), &mut bytes[filled..], RecvFlags::empty()))?.0 {
            0 => return Ok(None),
            received => filled += received,
        }
    }
    let message = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
    Ok(Some((message, fds)))
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(Into::into),
        }
    }
}
