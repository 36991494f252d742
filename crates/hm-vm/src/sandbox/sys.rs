//! The system calls that have no safe wrapper. The only `unsafe` code of hm.
#![expect(unsafe_code, reason = "clone3 and interface flags have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

/// Which side of a [`clone_process`] this is.
#[derive(Debug)]
pub(super) enum Cloned {
    /// The new process.
    Child,
    /// The caller.
    Parent {
        /// The child's id in the caller's namespace.
        pid: Pid,
        /// A handle on the child that no other process can come to mean.
        pidfd: OwnedFd,
    },
}

/// A copy of the calling process in the new namespaces that `namespaces` (`CLONE_NEW*`) asks for.
///
/// The caller must have a single thread: in a copy of a process with more, a lock that another thread held
/// stays locked for ever. The supervisor and its children have one.
pub(super) fn clone_process(namespaces: i32) -> io::Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is a valid `clone_args`: no stack, no TLS, no flags.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (namespaces | libc::CLONE_PIDFD) as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has a copy of this address space and returns here on a copy of this
    // stack, as after fork. `arguments` and `pidfd` outlive the call.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            std::mem::size_of::<libc::clone_args>(),
        )
    };
    match pid {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            // SAFETY: with CLONE_PIDFD the kernel has stored a descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("clone3 returned no pid"))?;
            Ok(Cloned::Parent { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends this process at once, running no destructor and no exit handler: a copy made by [`clone_process`]
/// shares them with its parent.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Moves this process into new namespaces (`CLONE_NEW*`).
pub(super) fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: no pointer is passed; CLONE_FILES, which would change what descriptors mean, is never asked for.
    match unsafe { libc::unshare(namespaces) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Brings the loopback interface of the current network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is a valid `ifreq` with a NUL-terminated name, and outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes every descriptor from `first` on: what the parent had open is none of the supervisor's business.
pub(super) fn close_from(first: u32) {
    // SAFETY: called before this process has opened anything of its own; no value owns these descriptors.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}
