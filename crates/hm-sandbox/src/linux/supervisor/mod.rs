//! The supervisor: a process of one thread between hm and its steps.
//!
//! hm has many threads and a user's credentials in memory, and neither must be copied into a step. So a step is
//! a clone of this process: the same binary, executed anew with nothing but a socket to hm, in the run's user
//! and mount namespaces. When hm goes away in whatever manner, the socket ends, the supervisor exits, and
//! its death takes every step along:
//!
//! ```text
//! hm ──socket── supervisor ──clone3── init (pid 1 of the step's namespaces) ──clone3── sh -c …
//!                    │                       └ PDEATHSIG: dies with the supervisor, and its namespaces with it
//!                    └──────clone3── worker (file operations that need the run's user namespace)
//! ```

mod calls;
mod cgroup;
mod confine;
mod entry;
mod event_loop;
mod hierarchies;
mod memory;
mod mounts;
mod network;
mod parent;
mod pods;
mod private;
mod root;
mod roots;
mod routes;
mod step;
mod user;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::mount::MountPropagationFlags;

use super::protocol::{self, Identity, Reply, Request, Setup};
use super::sys;

/// Set in the environment of a process that is to be a supervisor. Its standard input is the socket.
pub(super) const ENTRY_VARIABLE: &str = "HM_SANDBOX_SUPERVISOR";

/// Runs before `main` in every program that links this crate, so that any of them (hm, a test, a server that
/// embeds hm-exec) can execute itself as a supervisor without a line in its `main`.
#[ctor::ctor(unsafe)]
fn become_supervisor() {
    if std::env::var_os(ENTRY_VARIABLE).is_some() {
        sys::exit_now(match run() {
            Ok(()) => 0,
            Err(_) => 1,
        });
    }
}

fn run() -> io::Result<()> {
    sys::close_from(3);
    // What whoever started hm ignores is not ignored in steps.
    sys::reset_signals();
    // A terminal's Ctrl-C goes to its whole foreground group: hm alone decides what it means.
    rustix::process::setsid()?;
    let socket = rustix::io::dup(std::io::stdin())?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);

    let Some((Request::Setup(setup), _)) = protocol::receive(socket.as_fd())? else {
        return Err(io::Error::other("the first message was no set-up"));
    };
    match enter(&setup, &socket) {
        Ok(()) => {}
        Err(error) => {
            protocol::send(socket.as_fd(), &Reply::Failed(error.to_string()), &[])?;
            return Err(error);
        }
    }
    event_loop::EventLoop::new(socket, setup)?.run()
}

/// Enters the run's own namespaces.
fn enter(setup: &Setup, socket: &OwnedFd) -> io::Result<()> {
    let told = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| io::Error::other(format!("{what}: {error}"))
    };
    match setup.identity {
        Identity::Root => {}
        Identity::Single { uid, gid } => {
            sys::unshare(libc::CLONE_NEWUSER).map_err(told("cannot make a user namespace"))?;
            let write = |file: &str, text: String| {
                std::fs::write(Path::new("/proc/self").join(file), text)
                    .map_err(told(&format!("cannot write /proc/self/{file}")))
            };
            write("setgroups", "deny".into())?;
            write("gid_map", format!("0 {gid} 1"))?;
            write("uid_map", format!("0 {uid} 1"))?;
        }
        Identity::Range => {
            sys::unshare(libc::CLONE_NEWUSER).map_err(told("cannot make a user namespace"))?;
            protocol::send(socket.as_fd(), &Reply::WantsMapping, &[])?;
            match protocol::receive(socket.as_fd())? {
                Some((Request::Mapped, _)) => {}
                _ => return Err(io::Error::other("hm mapped no ids")),
            }
            rustix::thread::set_thread_res_gid(
                rustix::fs::Gid::ROOT,
                rustix::fs::Gid::ROOT,
                rustix::fs::Gid::ROOT,
            )?;
            rustix::thread::set_thread_res_uid(
                rustix::fs::Uid::ROOT,
                rustix::fs::Uid::ROOT,
                rustix::fs::Uid::ROOT,
            )?;
            rustix::thread::set_thread_groups(&[])?;
        }
    }
    sys::unshare(libc::CLONE_NEWNS).map_err(told("cannot make a mount namespace"))?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(io::Error::from)
        .map_err(told("cannot make mounts private"))?;
    std::env::set_current_dir(&setup.data_dir)
        .map_err(told(&format!("cannot enter {}", setup.data_dir.display())))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}
