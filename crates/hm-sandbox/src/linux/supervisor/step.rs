//! A step's first process: sets the sandbox up from within, starts the command, waits, and reports.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, WaitOptions};

use super::confine::Nesting;
use super::entry::Entry;
use super::user::User;
use super::{confine, parent, private, root};
use crate::linux::protocol::{Ending, Spawn};
use crate::linux::sys::{self, Cloned};
use hm_vm::ExitStatus;

/// How many processes all steps of a run may have where there is no cgroup to bound each step.
const UNGROUPED_PROCESSES: u64 = 16_384;

/// How many files each process of a step may have open unless it asks for more, and the most that it may ask for.
const OPEN_FILES: u64 = 65_536;
const MOST_OPEN_FILES: u64 = 1_048_576;

/// How often the processes that handle SIGTERM are looked for.
const HANDLERS: Duration = Duration::from_millis(20);

/// Process 1 of the step's namespaces. Its end is the end of every process of the step.
pub(super) fn init(entry: &Entry<'_>, spawn: Box<Spawn>, fds: &[OwnedFd], report: &OwnedFd) -> ! {
    parent::die_with_it();
    if parent::is_gone(report) {
        sys::exit_now(1);
    }
    let ending = match run(entry, spawn, fds) {
        Ok(status) => Ending::Ran {
            status,
            killed: None,
            notes: Vec::new(),
        },
        Err(error) => Ending::NotSetUp(error.to_string()),
    };
    let told = postcard::to_stdvec(&ending)
        .map_err(io::Error::other)
        .and_then(|bytes| rustix::io::write(report, &bytes).map_err(Into::into));
    sys::exit_now(i32::from(told.is_err()))
}

fn run(entry: &Entry<'_>, spawn: Box<Spawn>, fds: &[OwnedFd]) -> io::Result<ExitStatus> {
    // While the machine's mounts are still in sight.
    let nesting = Nesting::of(spawn.nested);
    if let Some(cgroup) = entry.cgroup {
        cgroup.enter()?;
    }
    entry.slot.enter()?;
    sys::unshare(libc::CLONE_NEWCGROUP)
        .map_err(|error| io::Error::other(format!("cannot make a cgroup namespace: {error}")))?;
    if entry.cgroup.is_none() {
        limit_processes()?;
    }
    lower(Resource::Nofile, OPEN_FILES, MOST_OPEN_FILES)
        .map_err(|error| io::Error::other(format!("cannot limit the number of open files: {error}")))?;
    offer_to_oom_killer();
    let place = &entry.place;
    let user = spawn.user.as_deref();
    let user = user.map(|user| User::find(place.root, user)).transpose()?;
    private::mount(entry, &spawn, user.as_ref())?;
    root::enter(place, entry.cgroup)?;
    rustix::system::sethostname(b"hm")
        .map_err(|error| io::Error::other(format!("cannot set the host name: {error}")))?;
    match sys::clone_process(0)? {
        Cloned::Child => {
            let error = command(&spawn, user.as_ref(), fds, nesting);
            // The step's own log is the place for "command not found" and the like.
            let _ = writeln!(io::stderr(), "hm: cannot run {}: {error}", spawn.argv.join(" "));
            sys::exit_now(if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            })
        }
        Cloned::Parent { pid, .. } => {
            // Its secrets are the command's alone.
            drop(spawn);
            wait_for(pid)
        }
    }
}

/// Without a cgroup, the bound is on what the user's ids have in this user namespace: on all steps together.
/// Real root is not bound by it.
fn limit_processes() -> io::Result<()> {
    lower(Resource::Nproc, UNGROUPED_PROCESSES, UNGROUPED_PROCESSES)
        .map_err(|error| io::Error::other(format!("cannot limit the number of processes: {error}")))
}

/// Lowers a limit of this process and of all that it starts. Where it is lower already, it stays: an ordinary user cannot
/// raise one.
fn lower(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let own = rustix::process::getrlimit(resource);
    let least = |own: Option<u64>, bound: u64| Some(own.map_or(bound, |own| own.min(bound)));
    let maximum = least(own.maximum, maximum);
    let bound = Rlimit {
        // Within what is allowed, the usual number is given even where whoever started hm had fewer.
        current: least(maximum, current),
        maximum,
    };
    Ok(rustix::process::setrlimit(resource, bound)?)
}

/// Has the kernel take this process and all that it starts before anything else of the machine when memory runs out. Done
/// where it can be: a hardened /proc may refuse it.
fn offer_to_oom_killer() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // A process whose ids have changed owns its files of /proc only while it may be dumped.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Reaps whatever is orphaned in the namespace until the command itself ends, and hands on a SIGTERM that comes meanwhile.
/// A command that ended by that signal leaves its grace to those of its processes that handle it.
fn wait_for(command: Pid) -> io::Result<ExitStatus> {
    let mut terminated = false;
    let mut ended = None;
    loop {
        if let Some(status) = reap(command)? {
            ended = Some(status);
        }
        if let Some(status) = ended
            && !(terminated && status == ExitStatus::Signal(libc::SIGTERM) && any_handles_term())
        {
            return Ok(status);
        }
        // Not every end is this process's to reap.
        let again = ended.map(|_| HANDLERS);
        // A step that signals its own first process ends nothing by that.
        let taken = sys::next_signal(again);
        if taken.is_some_and(|taken| taken.signal == libc::SIGTERM && taken.from_outside) {
            terminated = true;
            sys::terminate_others();
        }
    }
}

/// Reaps all that has ended, and tells how the command did when it was among it.
fn reap(command: Pid) -> io::Result<Option<ExitStatus>> {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => {
                let status = std::process::ExitStatus::from_raw(status.as_raw());
                ended = Some(match (status.code(), status.signal()) {
                    (Some(code), _) => ExitStatus::Code(code),
                    (None, signal) => ExitStatus::Signal(signal.unwrap_or(libc::SIGKILL)),
                });
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a process of the namespace, this one aside, has a handler for SIGTERM.
fn any_handles_term() -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    processes.flatten().any(|process| {
        let name = process.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        pid.is_some_and(|pid| pid != 1)
            && std::fs::read_to_string(process.path().join("status"))
                .is_ok_and(|status| handles_term(&status))
    })
}

/// The same of one process, by its file `status`.
fn handles_term(status: &str) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let caught = field("SigCgt:").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
}

/// Becomes the command; returns only when that failed.
fn command(spawn: &Spawn, user: Option<&User>, fds: &[OwnedFd], nesting: Nesting) -> io::Error {
    match prepare(spawn, user, fds, nesting) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

fn prepare(spawn: &Spawn, user: Option<&User>, fds: &[OwnedFd], nesting: Nesting) -> io::Result<Command> {
    sys::reset_signals();
    rustix::process::setsid()?;
    let [output, .., errors] = fds else {
        return Err(io::Error::other("no descriptors came with the request"));
    };
    if spawn.terminal {
        rustix::process::ioctl_tiocsctty(output)?;
        rustix::stdio::dup2_stdin(output)?;
    }
    stdout_and_stderr(output.as_fd(), errors.as_fd())?;
    std::env::set_current_dir(&spawn.cwd)
        .map_err(|error| io::Error::other(format!("cannot enter {}: {error}", spawn.cwd.display())))?;
    let (program, arguments) = spawn
        .argv
        .split_first()
        .ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(program);
    let set = |command: &mut Command, variables: &[(String, String)]| {
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    };
    command.args(arguments).env_clear();
    set(&mut command, &spawn.defaults);
    if let Some(user) = user {
        set(&mut command, &user.variables());
    }
    set(&mut command, &spawn.env);
    for (name, value) in &spawn.secrets {
        command.env(name, OsStr::from_bytes(value.0.expose()));
    }
    confine::confine(nesting)?;
    if let Some(user) = user {
        user.become_it(&[output.as_fd(), errors.as_fd()])?;
    }
    Ok(command)
}

fn stdout_and_stderr(output: BorrowedFd<'_>, errors: BorrowedFd<'_>) -> io::Result<()> {
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(errors)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_handler_is_found_in_status() {
        assert!(handles_term(
            "Name:\tsh\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000004002\n"
        ));
        assert!(!handles_term(
            "Name:\tsh\nSigIgn:\t0000000000004000\nSigCgt:\t0000000000010002\n"
        ));
        assert!(!handles_term(""));
    }
}
