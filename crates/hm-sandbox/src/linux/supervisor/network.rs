//! Network slots: a network namespace with its localhost up, and connections out where `pasta` gives them.
//!
//! Making one takes a tenth of a second, so they are made ahead, as many as steps run at once, and used again
//! by one step, or one pod of steps, after another: a step cannot change its namespace (it has no `CAP_NET_ADMIN`),
//! and all its sockets are gone when it has ended.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{parent, routes};
use crate::linux::protocol::{Identity, RESOLVER};
use crate::linux::sys::{self, Cloned};
use hm_vm::Network;

/// What a step is put into before anything else.
#[derive(Debug)]
pub(super) struct Slot {
    network: Network,
    namespace: OwnedFd,
    /// Ends with the slot: its parent-death signal, or its pidfd here.
    pasta: Option<OwnedFd>,
}

impl Slot {
    /// Moves the calling process in.
    pub(super) fn enter(&self) -> io::Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| io::Error::other(format!("cannot enter the network namespace: {error}")))
    }
}

/// A slot whose pasta is not ready yet; the pipe ends, or says something, when it is.
#[derive(Debug)]
struct Starting {
    slot: Slot,
    ready: std::fs::File,
}

#[derive(Debug)]
pub(super) struct Slots {
    pasta: Option<PathBuf>,
    identity: Identity,
    free: Vec<Slot>,
    starting: VecDeque<Starting>,
    /// Why slots could not be closed to what a step must not reach: nobody is let into those.
    failed: Vec<io::Error>,
    /// How many are to be free or on their way.
    wanted: usize,
}

impl Slots {
    pub(super) fn new(pasta: Option<PathBuf>, identity: Identity) -> Self {
        Self {
            pasta,
            identity,
            free: Vec::new(),
            starting: VecDeque::new(),
            failed: Vec::new(),
            wanted: 0,
        }
    }

    /// Has slots with connections out made, until `count` are free or on their way: by [`Slots::make_one`].
    pub(super) fn prepare(&mut self, count: usize) {
        self.wanted = self.wanted.max(count);
    }

    /// Whether [`Slots::make_one`] has something to do.
    pub(super) fn are_wanted(&self) -> bool {
        self.of(Network::Outbound) + self.starting.len() < self.wanted
    }

    /// Begins to make one of the slots that are wanted. One at a time, so that hm is heard between any two of them.
    pub(super) fn make_one(&mut self) {
        // Whoever takes the slot sees the error again.
        if self.are_wanted() && self.begin(Network::Outbound).is_err() {
            self.wanted = 0;
        }
    }

    /// The pipes on which starting slots say that they are ready.
    pub(super) fn starting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.starting.iter().map(|starting| starting.ready.as_fd())
    }

    /// Moves slots that have become ready to the free ones. Called when one of [`Slots::starting`] has
    /// something to say.
    pub(super) fn advance(&mut self) {
        for _ in 0..self.starting.len() {
            let Some(mut starting) = self.starting.pop_front() else {
                return;
            };
            match starting.ready.read(&mut [0; 32]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.starting.push_back(starting),
                // Ready, or ended without having become ready: the step then has its localhost alone.
                _ => match routes::close(starting.slot.namespace.as_fd()) {
                    Ok(()) => self.free.push(starting.slot),
                    Err(error) => self.failed.push(error),
                },
            }
        }
    }

    /// A slot for a step or a pod; `None` while the one that will do is being made.
    pub(super) fn take(&mut self, network: Network) -> Option<io::Result<Slot>> {
        if self.of(network) == 0 {
            if network == Network::Outbound {
                if let Some(error) = self.failed.pop() {
                    return Some(Err(error));
                }
                if !self.starting.is_empty() {
                    return None;
                }
            }
            if let Err(error) = self.begin(network) {
                return Some(Err(error));
            }
        }
        let index = self.free.iter().position(|slot| slot.network == network)?;
        if network == Network::Outbound {
            self.wanted = self.wanted.saturating_sub(1);
        }
        Some(Ok(self.free.swap_remove(index)))
    }

    /// Takes a slot back that no process is in.
    pub(super) fn give_back(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    fn of(&self, network: Network) -> usize {
        self.free.iter().filter(|slot| slot.network == network).count()
    }

    fn begin(&mut self, network: Network) -> io::Result<()> {
        let namespace = namespace()?;
        let mut slot = Slot {
            network,
            namespace,
            pasta: None,
        };
        match (&self.pasta, network) {
            (Some(pasta), Network::Outbound) => {
                let (ready, pidfd) = self.start_pasta(&pasta.clone(), &slot.namespace)?;
                slot.pasta = Some(pidfd);
                self.starting.push_back(Starting { slot, ready });
            }
            _ => self.free.push(slot),
        }
        Ok(())
    }

    fn start_pasta(&self, pasta: &PathBuf, namespace: &OwnedFd) -> io::Result<(std::fs::File, OwnedFd)> {
        let (ready, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&ready, rustix::fs::OFlags::NONBLOCK)?;
        match sys::clone_process(0)? {
            Cloned::Child => {
                parent::die_with_it();
                let error = self.become_pasta(pasta, namespace, &writer);
                sys::exit_now(error.raw_os_error().unwrap_or(1))
            }
            Cloned::Parent { pidfd, .. } => Ok((ready.into(), pidfd)),
        }
    }

    /// Becomes pasta for a namespace; returns only when that failed.
    fn become_pasta(&self, pasta: &PathBuf, namespace: &OwnedFd, ready: &OwnedFd) -> io::Error {
        for fd in [namespace, ready] {
            if let Err(error) = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()) {
                return error.into();
            }
        }
        let mut command = Command::new(pasta);
        command.args([
            "--foreground",
            "--quiet",
            "--config-net",
            "--netns-only",
            "--no-map-gw",
        ]);
        // Nothing of the host's is reachable from inside, and nothing of the step's from outside.
        command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
        command.args(["--dns-forward", RESOLVER]);
        if self.identity == Identity::Root {
            // As root, pasta would become `nobody` and then fail to open the namespace.
            command.args(["--runas", "0:0"]);
        }
        command
            .arg("--netns")
            .arg(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
        // It writes its id there once the namespace is configured.
        command
            .arg("--pid")
            .arg(format!("/proc/self/fd/{}", ready.as_raw_fd()));
        command.exec()
    }
}

/// A new network namespace, with its localhost up. A process of its own makes it: an ordinary user's could not
/// come back from there.
fn namespace() -> io::Result<OwnedFd> {
    let failed = |error| io::Error::other(format!("cannot make a network namespace: {error}"));
    let (made, says) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match sys::clone_process(libc::CLONE_NEWNET).map_err(failed)? {
        Cloned::Child => {
            parent::die_with_it();
            let up = sys::loopback_up();
            // So that a port is free again as soon as the step that used it has ended.
            let _ = std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0");
            let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
            let _ = rustix::io::write(&says, &[u8::from(up.is_err())]);
            // Until the supervisor has opened the namespace, this process keeps it.
            loop {
                std::thread::sleep(std::time::Duration::from_secs(60));
            }
        }
        Cloned::Parent { pid, pidfd } => {
            drop(says);
            let mut answer = [1];
            let opened = rustix::io::read(&made, &mut answer)
                .map_err(io::Error::from)
                .and_then(|_| match answer {
                    [0] => std::fs::File::open(format!("/proc/{}/ns/net", pid.as_raw_nonzero())),
                    _ => Err(io::Error::other("its localhost cannot be brought up")),
                });
            rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)?;
            let _ = rustix::process::waitid(
                rustix::process::WaitId::PidFd(pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            opened.map(OwnedFd::from).map_err(failed)
        }
    }
}
