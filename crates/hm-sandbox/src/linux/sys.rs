//! The system calls that have no safe wrapper. The only `unsafe` code of hm.
#![expect(
    unsafe_code,
    reason = "clone3, signals and interface flags have no safe wrapper"
)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

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
        _ => match io::Error::last_os_error() {
            // An outer seccomp filter may not know the call, or hide it.
            error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                clone_plainly(namespaces)
            }
            error => Err(error),
        },
    }
}

/// [`clone_process`] by the older call, which every kernel and filter knows.
fn clone_plainly(namespaces: i32) -> io::Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let flags = i64::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: as in `clone_process`: without CLONE_VM and with no stack of its own, the child has a copy of this one. The
    // third argument is where the descriptor goes, on every architecture; the others are not read without their flags.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    match pid {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            // SAFETY: with CLONE_PIDFD the kernel has stored a descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("clone returned no pid"))?;
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

/// The signals that a step's first process takes one by one instead of being interrupted by them.
fn held() -> libc::sigset_t {
    // SAFETY: all-zero is a valid set, and the calls write to it alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        set
    }
}

/// Keeps SIGTERM and SIGCHLD pending in this process and in those that it makes from now on, for [`next_signal`].
pub(super) fn hold_signals() {
    let set = held();
    // SAFETY: `set` outlives the call; the only error is an unknown first argument.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Undoes [`hold_signals`] in this process.
pub(super) fn release_signals() {
    let set = held();
    // SAFETY: as in `hold_signals`.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

/// One of the held signals, taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its number.
    pub(super) signal: i32,
    /// Whether its sender is outside of this process's PID namespace: from there a sender has no id.
    pub(super) from_outside: bool,
}

/// Waits for one of the held signals and takes it; `None` when none came in time.
pub(super) fn next_signal(timeout: Option<Duration>) -> Option<Taken> {
    let set = held();
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: all-zero is a valid `siginfo_t`; `set`, `info` and what `time` points to outlive the call; the sender's id
    // is read of signals that `kill` sent, which have one, and of others only as a number.
    let (signal, sender) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let signal = libc::sigtimedwait(&raw const set, &raw mut info, time);
        (signal, info.si_pid())
    };
    (signal > 0).then_some(Taken {
        signal,
        from_outside: sender == 0,
    })
}

/// Gives every signal its default disposition and blocks none, whatever this process inherited.
pub(super) fn reset_signals() {
    // More than the kernel's `struct sigaction` of any architecture: all-zero is the default disposition.
    const DEFAULT: [u64; 8] = [0; 8];
    const SET: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the kernel reads no more than `DEFAULT` has, and with a null pointer it writes nothing back. libc's own
        // function refuses the two signals that it keeps for itself. SIGKILL and SIGSTOP cannot be set; they are default.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null::<u64>(),
                SET,
            )
        };
    }
    // SAFETY: all-zero is a valid, empty set, which outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Asks every other process of this process's PID namespace to end, also those that are stopped. Does nothing where this is
/// not the namespace's first process: "every other process" would be the machine's.
pub(super) fn terminate_others() {
    if std::process::id() != 1 {
        return;
    }
    // SAFETY: no pointer is passed. That there is nobody to signal is no error here.
    unsafe {
        libc::kill(-1, libc::SIGTERM);
        libc::kill(-1, libc::SIGCONT);
    }
}

/// What the kernel calls a file, whatever its names: the kind of the handle, and its bytes.
pub(super) fn file_handle(path: &Path) -> io::Result<(i32, Vec<u8>)> {
    const LARGEST: usize = 128;
    /// `struct file_handle`, with room for its bytes.
    #[repr(C)]
    struct Handle {
        length: libc::c_uint,
        kind: libc::c_int,
        bytes: [u8; LARGEST],
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut handle = Handle {
        length: LARGEST as libc::c_uint,
        kind: 0,
        bytes: [0; LARGEST],
    };
    let mut mount: libc::c_int = 0;
    // SAFETY: `path` is NUL-terminated; `handle` has the layout of `struct file_handle` and room for as many bytes as its
    // length says; all of them outlive the call.
    let result = unsafe {
        libc::name_to_handle_at(
            libc::AT_FDCWD,
            path.as_ptr(),
            (&raw mut handle).cast::<libc::file_handle>(),
            &raw mut mount,
            0,
        )
    };
    match result {
        0 => Ok((
            handle.kind,
            handle.bytes[..LARGEST.min(handle.length as usize)].to_vec(),
        )),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn older_clone_makes_a_process_too() {
        match clone_plainly(0).expect("a process") {
            // In a copy of a process with threads nothing is safe but this.
            Cloned::Child => exit_now(7),
            Cloned::Parent { pidfd, .. } => {
                let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).expect("it ends");
                assert_eq!(ended.and_then(|status| status.exit_status()), Some(7));
            }
        }
    }
}
