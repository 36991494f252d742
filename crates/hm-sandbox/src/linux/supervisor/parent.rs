//! A process that the supervisor makes does not outlive it.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

/// Has the kernel kill this process when its parent dies.
pub(super) fn die_with_it() {
    // The only error is an unknown signal.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Whether the supervisor, which reads the reports, died before it could take this process along.
pub(super) fn is_gone(report: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(report, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}
