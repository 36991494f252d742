//! hm's end of the supervisor: starts it, sends it requests, and hands its answers to whoever waits.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::oneshot;

use super::export::CopyOut;
use super::idmap::{self, IdRanges};
use super::layers::{FileOp, FileReply};
use super::protocol::{self, Ending, Reply, Request, Root, Setup, Spawn, Work, Worked};
use super::supervisor::ENTRY_VARIABLE;
use super::tarball::Unpack;
use hm_vm::{CommandStart, Exported, KillReason, PodRequest, Result, VmError};

/// How long a supervisor may take to end its steps when it is no longer wanted.
const ENDING: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// How long whoever drops a supervisor waits for it.
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A running supervisor. Dropping it ends every step that it has started.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Arc<OwnedFd>,
    sending: Mutex<()>,
    pending: Arc<Pending>,
    next: AtomicU64,
    /// None once it was ended.
    process: Mutex<Option<Child>>,
}

/// Who waits for what. `None` once the supervisor is gone.
#[derive(Debug)]
struct Pending {
    steps: Mutex<Option<HashMap<u64, Awaited>>>,
    works: Mutex<Option<HashMap<u64, mpsc::Sender<Done>>>>,
}

/// Who waits for a command.
#[derive(Debug)]
struct Awaited {
    start: CommandStart,
    ending: oneshot::Sender<Ending>,
}

type Done = Result<Worked, String>;

impl Supervisor {
    /// Starts one and waits until it takes requests: a few milliseconds.
    pub(super) fn start(setup: Setup, ranges: Option<&IdRanges>) -> Result<Self> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| VmError::Setup(format!("cannot make a socket: {error}")))?;
        let mut process = Command::new("/proc/self/exe")
            .arg0("hm-supervisor")
            .env_clear()
            .env(ENTRY_VARIABLE, "1")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| VmError::Setup(format!("cannot start the supervisor process: {error}")))?;
        match greet(ours.as_fd(), &mut process, setup, ranges) {
            Ok(()) => {}
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(error);
            }
        }
        let pending = Arc::new(Pending {
            steps: Mutex::new(Some(HashMap::new())),
            works: Mutex::new(Some(HashMap::new())),
        });
        let socket = Arc::new(ours);
        std::thread::Builder::new()
            .name("hm-supervisor".into())
            .spawn({
                let (socket, pending) = (socket.clone(), pending.clone());
                move || pending.listen(socket.as_fd())
            })
            .map_err(|error| VmError::Setup(format!("cannot start a thread: {error}")))?;
        let (sending, next, process) = (Mutex::default(), AtomicU64::new(0), Mutex::new(Some(process)));
        Ok(Self {
            socket,
            sending,
            pending,
            next,
            process,
        })
    }

    /// Starts a command, and marks its `start`; the receiver gets its ending, or nothing when the supervisor dies.
    pub(super) fn spawn(
        &self,
        spawn: Spawn,
        fds: &[BorrowedFd<'_>],
        start: CommandStart,
    ) -> Result<(u64, oneshot::Receiver<Ending>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (ending, receiver) = oneshot::channel();
        match lock(&self.pending.steps).as_mut() {
            Some(steps) => steps.insert(id, Awaited { start, ending }),
            None => return Err(gone()),
        };
        self.send(&Request::Spawn(id, Box::new(spawn)), fds)?;
        Ok((id, receiver))
    }

    /// Has a root mounted; whoever starts a command in it hears of an error.
    pub(super) fn mount(&self, root: Root) -> Result<u64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(&Request::Mount(id, Box::new(root)), &[])?;
        Ok(id)
    }

    /// Has a root unmounted that no command is in.
    pub(super) fn unmount(&self, id: u64) {
        // When the supervisor is gone, so are its mounts.
        let _ = self.send(&Request::Unmount(id), &[]);
    }

    /// Opens a pod; the first command in it hears of an error.
    pub(super) fn open_pod(&self, request: &PodRequest) -> Result<u64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(&Request::OpenPod(id, request.network, request.hosts.clone()), &[])?;
        Ok(id)
    }

    /// Gives a pod up; its network goes when no command is in it any more.
    pub(super) fn close_pod(&self, id: u64) {
        // When the supervisor is gone, so are its pods.
        let _ = self.send(&Request::ClosePod(id), &[]);
    }

    /// Asks every process of a command to end.
    pub(super) fn terminate(&self, id: u64) {
        // When the supervisor is gone, so is the command.
        let _ = self.send(&Request::Terminate(id), &[]);
    }

    /// Kills every process of a command.
    pub(super) fn kill(&self, id: u64, reason: KillReason) {
        // When the supervisor is gone, so is the command.
        let _ = self.send(&Request::Kill(id, reason), &[]);
    }

    /// Readies what `count` commands at once will need.
    pub(super) fn prepare(&self, count: usize) {
        let _ = self.send(&Request::Prepare(count), &[]);
    }

    /// Runs a file operation where the files' owners exist, and waits for it.
    pub(super) fn files(&self, op: FileOp) -> Result<FileReply> {
        match self.work(Work::Layers(op), &[])? {
            Worked::Layers(reply) => Ok(reply),
            Worked::Unpacked | Worked::CopiedOut(_) => Err(something_else()),
        }
    }

    /// Copies files out of a mounted root into a directory, and waits for it.
    pub(super) fn copy_out(&self, order: CopyOut, into: BorrowedFd<'_>) -> Result<Exported> {
        match self.work(Work::CopyOut(order), &[into])? {
            Worked::CopiedOut(copied) => Ok(copied.into()),
            Worked::Unpacked | Worked::Layers(_) => Err(something_else()),
        }
    }

    /// Unpacks a tarball where its files' owners exist, and waits for it.
    pub(super) fn unpack(&self, order: Unpack) -> Result<()> {
        self.work(Work::Unpack(order), &[]).map(|_| ())
    }

    fn work(&self, work: Work, fds: &[BorrowedFd<'_>]) -> Result<Worked> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        match lock(&self.pending.works).as_mut() {
            Some(works) => works.insert(id, sender),
            None => return Err(gone()),
        };
        self.send(&Request::Work(id, work), fds)?;
        receiver.recv().map_err(|_| gone())?.map_err(VmError::Other)
    }

    fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let _one_at_a_time = lock(&self.sending);
        protocol::send(self.socket.as_fd(), request, fds)
            .map_err(|error| VmError::Setup(format!("cannot reach the supervisor process: {error}")))
    }
}

impl Supervisor {
    /// Ends it, and every step that it has started, and waits for that.
    pub(super) fn end(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        if let Some(mut process) = lock(&self.process).take() {
            end(&mut process, ENDING);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        let Some(mut process) = lock(&self.process).take() else {
            return;
        };
        // It mostly ends at once. A task that drops this must not wait for one that does not.
        if tokio::runtime::Handle::try_current().is_ok() && !ends_within(&process, AT_ONCE) {
            // Without a thread it is reaped at this process's end.
            let _ = std::thread::Builder::new()
                .name("hm-supervisor-end".into())
                .spawn(move || end(&mut process, ENDING));
            return;
        }
        end(&mut process, ENDING);
    }
}

fn end(process: &mut Child, time: Timespec) {
    if !ends_within(process, time) {
        let _ = process.kill();
    }
    let _ = process.wait();
}

fn ends_within(process: &Child, time: Timespec) -> bool {
    let ended = || -> rustix::io::Result<bool> {
        let pid = i32::try_from(process.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time))? > 0)
    };
    ended().unwrap_or(false)
}

impl Pending {
    fn listen(&self, socket: BorrowedFd<'_>) {
        while let Ok(Some((reply, _))) = protocol::receive::<Reply>(socket) {
            match reply {
                Reply::Ended(id, ending) => {
                    if let Some(waiting) = lock(&self.steps).as_mut().and_then(|steps| steps.remove(&id)) {
                        // Whoever waited may have been dropped.
                        let _ = waiting.ending.send(ending);
                    }
                }
                Reply::Started(id) => {
                    if let Some(waiting) = lock(&self.steps).as_ref().and_then(|steps| steps.get(&id)) {
                        waiting.start.mark();
                    }
                }
                Reply::Worked(id, reply) => {
                    if let Some(waiting) = lock(&self.works).as_mut().and_then(|works| works.remove(&id)) {
                        let _ = waiting.send(reply);
                    }
                }
                Reply::WantsMapping | Reply::Ready | Reply::Failed(_) => {}
            }
        }
        // Dropping the senders tells everybody who still waits.
        *lock(&self.steps) = None;
        *lock(&self.works) = None;
    }
}

fn greet(socket: BorrowedFd<'_>, process: &mut Child, setup: Setup, ranges: Option<&IdRanges>) -> Result<()> {
    let failed = |error: std::io::Error| VmError::Setup(format!("the supervisor process failed: {error}"));
    protocol::send(socket, &Request::Setup(setup), &[]).map_err(failed)?;
    loop {
        match protocol::receive(socket).map_err(failed)? {
            Some((Reply::Ready, _)) => return Ok(()),
            Some((Reply::WantsMapping, _)) => {
                let ranges = ranges.ok_or_else(|| VmError::Setup("there are no ids to map".into()))?;
                idmap::apply(ranges, process.id())?;
                protocol::send(socket, &Request::Mapped, &[]).map_err(failed)?;
            }
            Some((Reply::Failed(reason), _)) => {
                return Err(VmError::Setup(format!("{reason}; `hm doctor` tells more")));
            }
            Some(_) => {}
            None => return Err(VmError::Setup("the supervisor process ended at once".into())),
        }
    }
}

pub(super) fn gone() -> VmError {
    VmError::Setup("the supervisor process is gone: was it killed?".into())
}

fn something_else() -> VmError {
    VmError::Other("the supervisor process answered something else".into())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
