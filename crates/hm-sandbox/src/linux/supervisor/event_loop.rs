//! The supervisor's one loop: hm's requests, its children's ends, and the network slots.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::cgroup::{self, Cgroups, StepCgroup};
use super::entry::{Entry, Place};
use super::network::{Slot, Slots};
use super::pods::Pods;
use super::roots::Roots;
use super::{confine, memory, parent, step};
use crate::linux::protocol::{self, Ending, Reply, Request, Setup, Spawn, Work, Worked};
use crate::linux::sys::{self, Cloned};
use crate::linux::{export, layers, tarball};
use hm_vm::{KillReason, Limits, Network};

/// A clone of this process, and what it has said so far.
#[derive(Debug)]
struct Child {
    pidfd: OwnedFd,
    /// `None` once it has said all.
    report: Option<std::fs::File>,
    said: Vec<u8>,
    task: Task,
}

impl Child {
    /// Takes in what it says; waits where it says nothing yet.
    fn listen(&mut self) {
        let Some(report) = &mut self.report else { return };
        let mut chunk = [0; 16 * 1024];
        match report.read(&mut chunk) {
            Ok(read @ 1..) => self.said.extend_from_slice(&chunk[..read]),
            _ => self.report = None,
        }
    }

    /// Takes in what it has already said.
    fn listen_now(&mut self) {
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let speaks = self.report.as_ref().is_some_and(|report| {
            let mut fds = [PollFd::new(report, PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
        });
        if speaks {
            self.listen();
        }
    }
}

/// What a child was made for.
#[derive(Debug)]
enum Task {
    Step(Box<StepTask>),
    Work,
}

/// What a step has while its first process lives.
#[derive(Debug)]
struct StepTask {
    connection: Connection,
    cgroup: Option<StepCgroup>,
    limits: Limits,
    killed: Option<KillReason>,
    /// How often the kernel had run out of memory when it began.
    kills_before: u64,
}

/// The network that a step is in.
#[derive(Debug)]
enum Connection {
    Own(Slot),
    Pod(u64),
}

/// A step's first process.
struct Started {
    pidfd: OwnedFd,
    report: OwnedFd,
    cgroup: Option<StepCgroup>,
    limits: Limits,
}

/// A step that waits for a network slot.
#[derive(Debug)]
struct Waiting {
    id: u64,
    spawn: Box<Spawn>,
    fds: Vec<OwnedFd>,
}

#[derive(Debug)]
pub(super) struct EventLoop {
    socket: OwnedFd,
    setup: Setup,
    slots: Slots,
    pods: Pods,
    cgroups: Cgroups,
    roots: Roots,
    children: BTreeMap<u64, Child>,
    waiting: VecDeque<Waiting>,
}

fn prepare(setup: &Setup) -> io::Result<Roots> {
    confine::filters(confine::Nesting::Refused)?;
    Roots::prepare(setup)
}

enum Turn {
    GoOn,
    HmIsGone,
}

impl EventLoop {
    pub(super) fn new(socket: OwnedFd, setup: Setup) -> io::Result<Self> {
        let roots = match prepare(&setup) {
            Ok(roots) => roots,
            Err(error) => {
                protocol::send(socket.as_fd(), &Reply::Failed(error.to_string()), &[])?;
                return Err(error);
            }
        };
        let slots = Slots::new(setup.pasta.clone(), setup.identity);
        let cgroups = Cgroups::find(setup.identity);
        protocol::send(socket.as_fd(), &Reply::Ready, &[])?;
        Ok(Self {
            socket,
            setup,
            slots,
            pods: Pods::default(),
            cgroups,
            roots,
            children: BTreeMap::new(),
            waiting: VecDeque::new(),
        })
    }

    /// Runs until hm is gone.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            let events = self.wait()?;
            if events.request
                && let Turn::HmIsGone = self.request()?
            {
                self.end();
                return Ok(());
            }
            if events.slots {
                self.slots.advance();
            }
            for id in events.talking {
                self.listen(id);
            }
            for id in events.ended {
                self.reap(id)?;
            }
            self.start_waiting()?;
            self.slots.make_one();
        }
    }

    /// Kills every step, waits until no process of them is left, and removes what outlives processes.
    fn end(&mut self) {
        for child in self.children.values() {
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
        }
        for child in self.children.values() {
            let _ = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
        }
        self.cgroups.remove();
    }

    fn wait(&mut self) -> io::Result<Events> {
        let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN)];
        for child in self.children.values() {
            fds.push(PollFd::new(&child.pidfd, PollFlags::IN));
            let talks = child.report.as_ref().map_or(child.pidfd.as_fd(), AsFd::as_fd);
            fds.push(PollFd::from_borrowed_fd(talks, PollFlags::IN));
        }
        let slots_from = fds.len();
        fds.extend(
            self.slots
                .starting()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        // More networks are to be made as soon as nothing else is to be done.
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let patience = self.slots.are_wanted().then_some(now);
        loop {
            match rustix::event::poll(&mut fds, patience.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let mut events = Events {
            request: ready(&fds[0]),
            slots: fds[slots_from..].iter().any(ready),
            talking: Vec::new(),
            ended: Vec::new(),
        };
        for (id, pair) in self.children.keys().zip(fds[1..slots_from].chunks(2)) {
            if ready(&pair[0]) {
                events.ended.push(*id);
            } else if ready(&pair[1]) {
                events.talking.push(*id);
            }
        }
        Ok(events)
    }

    fn request(&mut self) -> io::Result<Turn> {
        let Some((request, fds)) = protocol::receive(self.socket.as_fd())? else {
            return Ok(Turn::HmIsGone);
        };
        match request {
            Request::Setup(_) | Request::Mapped => {}
            Request::Prepare(count) => {
                self.slots.prepare(count);
                self.cgroups.prepare(count);
            }
            Request::Mount(id, root) => self.roots.mount(id, &root),
            Request::Unmount(id) => self.roots.unmount(id),
            Request::OpenPod(id, network, hosts) => self.pods.open(id, network, hosts),
            Request::ClosePod(id) => {
                if let Some(slot) = self.pods.close(id) {
                    self.slots.give_back(slot);
                }
            }
            Request::Spawn(id, spawn) => self.waiting.push_back(Waiting { id, spawn, fds }),
            Request::Kill(id, reason) => self.end_step(id, reason, Signal::KILL)?,
            Request::Terminate(id) => self.end_step(id, KillReason::Canceled, Signal::TERM)?,
            Request::Work(id, work) => self.start_work(id, work, fds)?,
        }
        Ok(Turn::GoOn)
    }

    /// Sends a signal to a step's first process, which hands SIGTERM on to all others.
    fn end_step(&mut self, id: u64, reason: KillReason, signal: Signal) -> io::Result<()> {
        if let Some(child) = self.children.get_mut(&id) {
            child.listen_now();
            // One that has said how it ended did so by itself.
            if child.said.is_empty()
                && let Task::Step(step) = &mut child.task
            {
                step.killed.get_or_insert(reason);
            }
            // A child that has ended meanwhile is reaped by the loop.
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, signal);
        } else if let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.waiting.remove(index);
            let status = hm_vm::ExitStatus::Signal(libc::SIGKILL);
            let ending = Ending::Ran {
                status,
                killed: Some(reason),
                notes: Vec::new(),
            };
            protocol::send(self.socket.as_fd(), &Reply::Ended(id, ending), &[])?;
        }
        Ok(())
    }

    fn start_waiting(&mut self) -> io::Result<()> {
        let outbound =
            |waiting: &&Waiting| waiting.spawn.pod.is_none() && waiting.spawn.network == Network::Outbound;
        let alone = self.waiting.iter().filter(outbound).count();
        self.slots.prepare(alone + self.pods.wanting());
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let connected = match waiting.spawn.pod {
                Some(pod) => {
                    let joined = self.pods.join(pod, &mut self.slots);
                    joined.map(|joined| joined.map(|()| Connection::Pod(pod)))
                }
                None => {
                    let slot = self.slots.take(waiting.spawn.network);
                    slot.map(|slot| slot.map(Connection::Own))
                }
            };
            let Some(connected) = connected else {
                index += 1;
                continue;
            };
            let Some(Waiting { id, spawn, fds }) = self.waiting.remove(index) else {
                break;
            };
            match connected {
                Ok(connection) => self.start_step(id, spawn, &fds, connection)?,
                Err(error) => self.tell_not_set_up(id, error.to_string())?,
            }
        }
        Ok(())
    }

    fn disconnect(&mut self, connection: Connection) {
        let free = match connection {
            Connection::Own(slot) => Some(slot),
            Connection::Pod(pod) => self.pods.leave(pod),
        };
        if let Some(slot) = free {
            self.slots.give_back(slot);
        }
    }

    fn tell_not_set_up(&self, id: u64, reason: String) -> io::Result<()> {
        protocol::send(
            self.socket.as_fd(),
            &Reply::Ended(id, Ending::NotSetUp(reason)),
            &[],
        )
    }

    fn start_step(
        &mut self,
        id: u64,
        spawn: Box<Spawn>,
        fds: &[OwnedFd],
        connection: Connection,
    ) -> io::Result<()> {
        match self.try_start(spawn, fds, &connection) {
            Ok(Started {
                pidfd,
                report,
                cgroup,
                limits,
            }) => {
                let task = Task::Step(Box::new(StepTask {
                    connection,
                    cgroup,
                    limits,
                    killed: None,
                    kills_before: memory::kills(),
                }));
                let child = Child {
                    pidfd,
                    report: Some(report.into()),
                    said: Vec::new(),
                    task,
                };
                self.children.insert(id, child);
                protocol::send(self.socket.as_fd(), &Reply::Started(id), &[])
            }
            Err(reason) => {
                self.disconnect(connection);
                self.tell_not_set_up(id, reason)
            }
        }
    }

    fn try_start(
        &mut self,
        spawn: Box<Spawn>,
        fds: &[OwnedFd],
        connection: &Connection,
    ) -> Result<Started, String> {
        let root = self.roots.place(spawn.root)?.to_owned();
        let cgroup = self
            .cgroups
            .take(&spawn.limits)
            .map_err(|error| error.to_string())?;
        let started = self.clone_step(spawn, fds, connection, &root, cgroup.as_ref());
        match started {
            Ok((pidfd, report, limits)) => Ok(Started {
                pidfd,
                report,
                cgroup,
                limits,
            }),
            Err(error) => {
                cgroup
                    .into_iter()
                    .for_each(|cgroup| self.cgroups.give_back(cgroup));
                Err(format!("cannot make a process in new namespaces: {error}"))
            }
        }
    }

    fn clone_step(
        &mut self,
        spawn: Box<Spawn>,
        fds: &[OwnedFd],
        connection: &Connection,
        root: &std::path::Path,
        cgroup: Option<&StepCgroup>,
    ) -> io::Result<(OwnedFd, OwnedFd, Limits)> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (slot, hosts) = match connection {
            Connection::Own(slot) => (slot, None),
            Connection::Pod(pod) => {
                let pod = self.pods.get(*pod);
                let (slot, hosts) = pod.ok_or_else(|| io::Error::other("its pod is closed"))?;
                (slot, Some(hosts))
            }
        };
        let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        // A signal that comes before the step's first process is ready for it must not be lost.
        sys::hold_signals();
        let cloned = sys::clone_process(namespaces);
        if !matches!(cloned, Ok(Cloned::Child)) {
            sys::release_signals();
        }
        match cloned? {
            Cloned::Child => {
                // Held on to here, their pipes would seem open until this step's end, and their secrets be in its memory.
                self.waiting.clear();
                drop(reader);
                let entry = Entry {
                    place: Place {
                        root,
                        stage: self.roots.stage(),
                        dev: self.roots.dev(),
                        identity: self.setup.identity,
                    },
                    slot,
                    cgroup,
                    hosts,
                };
                step::init(&entry, spawn, fds, &writer)
            }
            Cloned::Parent { pidfd, .. } => Ok((pidfd, reader, spawn.limits.clone())),
        }
    }

    fn start_work(&mut self, id: u64, work: Work, fds: Vec<OwnedFd>) -> io::Result<()> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        match sys::clone_process(0) {
            Ok(Cloned::Child) => {
                self.waiting.clear();
                parent::die_with_it();
                let reply = match work {
                    Work::Layers(op) => layers::perform(op).map(Worked::Layers),
                    Work::Unpack(order) => tarball::unpack(&order).map(|()| Worked::Unpacked),
                    Work::CopyOut(order) => {
                        let root = self.roots.place(order.root).map_err(hm_vm::VmError::Setup);
                        root.and_then(|root| export::copy_out(&order, root, &fds))
                            .map(Worked::CopiedOut)
                    }
                };
                let reply = reply.map_err(|error| error.to_string());
                let said = postcard::to_stdvec(&reply).unwrap_or_default();
                let written = io::Write::write_all(&mut std::fs::File::from(writer), &said);
                sys::exit_now(i32::from(written.is_err()));
            }
            Ok(Cloned::Parent { pidfd, .. }) => {
                let child = Child {
                    pidfd,
                    report: Some(reader.into()),
                    said: Vec::new(),
                    task: Task::Work,
                };
                self.children.insert(id, child);
                Ok(())
            }
            Err(error) => {
                let reply = Reply::Worked(id, Err(format!("cannot make a process: {error}")));
                protocol::send(self.socket.as_fd(), &reply, &[])
            }
        }
    }

    /// Reads what a child has to say, before its pipe is full and until its end.
    fn listen(&mut self, id: u64) {
        if let Some(child) = self.children.get_mut(&id) {
            child.listen();
        }
    }

    fn reap(&mut self, id: u64) -> io::Result<()> {
        let Some(mut child) = self.children.remove(&id) else {
            return Ok(());
        };
        let _ = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
        if let Some(mut report) = child.report {
            let _ = report.read_to_end(&mut child.said);
        }
        let reply = match child.task {
            Task::Work => {
                let reply = postcard::from_bytes(&child.said)
                    .unwrap_or_else(|_| Err("the file operation's process was killed".into()));
                Reply::Worked(id, reply)
            }
            Task::Step(step) => {
                let StepTask {
                    connection,
                    cgroup,
                    limits,
                    killed,
                    kills_before,
                } = *step;
                let notes = cgroup
                    .as_ref()
                    .map_or_else(|| cgroup::unlimited(&limits), StepCgroup::notes);
                let counted = cgroup.as_ref().is_some_and(StepCgroup::counts_kills);
                let out_of_memory = cgroup.as_ref().is_some_and(StepCgroup::ran_out_of_memory);
                self.disconnect(connection);
                cgroup
                    .into_iter()
                    .for_each(|cgroup| self.cgroups.give_back(cgroup));
                let mut ending = postcard::from_bytes(&child.said).unwrap_or(Ending::Ran {
                    status: hm_vm::ExitStatus::Signal(libc::SIGKILL),
                    killed: None,
                    notes: Vec::new(),
                });
                if let Ending::Ran {
                    killed: why,
                    notes: all,
                    status,
                } = &mut ending
                {
                    let died = *status != hm_vm::ExitStatus::Code(0);
                    // Where no cgroup counts them: a process that was killed while the kernel killed for want of memory.
                    let killed_by_kernel =
                        matches!(status.code(), 137) && !counted && memory::kills() > kills_before;
                    let out_of_memory = out_of_memory || killed_by_kernel;
                    *why = killed.or_else(|| (out_of_memory && died).then_some(KillReason::OutOfMemory));
                    all.extend(notes);
                    if *why == Some(KillReason::OutOfMemory) {
                        all.push(out_of_memory_words(limits.memory, self.cgroups.memory()));
                    }
                }
                Reply::Ended(id, ending)
            }
        };
        protocol::send(self.socket.as_fd(), &reply, &[])
    }
}

/// Which memory was too little.
fn out_of_memory_words(own: Option<u64>, of_all: Option<u64>) -> String {
    match (own, of_all) {
        (Some(own), _) => {
            format!("stopped: out of memory: it needed more memory than its limit of {own} bytes")
        }
        (None, Some(of_all)) => format!(
            "stopped: out of memory: all steps together may have {of_all} bytes of this machine's; fewer steps at once \
             (--parallelism) need less"
        ),
        (None, None) => {
            "stopped: out of memory: this machine had no more, and the kernel killed a process of it".into()
        }
    }
}

struct Events {
    request: bool,
    slots: bool,
    talking: Vec<u64>,
    ended: Vec<u64>,
}
