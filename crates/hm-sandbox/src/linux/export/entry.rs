//! One entry below a machine's workspace, which a step may have replaced by anything.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens something below the workspace.
pub(super) fn open(workspace: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(workspace, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
}

/// Why something cannot be read, in words.
pub(super) fn reason(errno: Errno) -> String {
    match errno {
        Errno::LOOP => "it is a link, and links are not followed".into(),
        Errno::NAMETOOLONG => "its path is too long".into(),
        errno => format!("it cannot be read: {errno}"),
    }
}
