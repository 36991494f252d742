//! Mounting, with errors that say what could not be mounted where.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::MountFlags;

use crate::sandbox::protocol::{Bind, Overlay};

/// Mounts an overlay below `root`.
pub(super) fn overlay(root: &Path, overlay: &Overlay) -> io::Result<()> {
    let mut options = OsString::from("lowerdir=");
    for (index, lower) in overlay.lower.iter().enumerate() {
        if index > 0 {
            options.push(":");
        }
        options.push(escaped(lower));
    }
    for (name, path) in [(",upperdir=", &overlay.upper), (",workdir=", &overlay.work)] {
        options.push(name);
        options.push(escaped(path));
    }
    // `userxattr` turns `redirect_dir` and `metacopy` off too: a lower layer may change between mounts.
    // `volatile`: unmounting must not flush the whole file system; the store syncs what it keeps.
    options.push(",userxattr,index=off,xino=off,volatile");
    let options = CString::new(options.into_vec())?;
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    let target = beneath(root, &overlay.target);
    rustix::mount::mount("overlay", &target, "overlay", flags, options.as_c_str()).map_err(|error| {
        io::Error::other(format!(
            "cannot mount the overlay on {} ({}): {error}",
            overlay.target.display(),
            options.to_string_lossy()
        ))
    })
}

/// A path as the overlay's option parser reads it back.
fn escaped(path: &Path) -> OsString {
    let mut bytes = Vec::with_capacity(path.as_os_str().len());
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            bytes.push(b'\\');
        }
        bytes.push(*byte);
    }
    OsString::from_vec(bytes)
}

pub(super) fn bind_read_only(root: &Path, exposed: &Bind) -> io::Result<()> {
    let target = beneath(root, &exposed.target);
    rustix::mount::mount_bind_recursive(&exposed.source, &target).map_err(|error| {
        io::Error::other(format!(
            "cannot show {} read-only: {error}",
            exposed.source.display()
        ))
    })?;
    remount_read_only(&target, MountFlags::NOSUID | MountFlags::NODEV)
}

/// Makes a bind mount read-only, and nothing else about it.
pub(super) fn remount_read_only(target: &Path, with: MountFlags) -> io::Result<()> {
    // In a user namespace the flags that the host's mount has are locked: they must be named again.
    let has = rustix::fs::statvfs(target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | with;
    for (present, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(present) {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(target, flags, c"")
        .map_err(|error| io::Error::other(format!("cannot make {} read-only: {error}", target.display())))
}

/// `path` of the step, as seen before pivoting.
pub(super) fn beneath(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

pub(super) fn mount(
    source: &str,
    target: &Path,
    kind: &str,
    flags: MountFlags,
    options: &str,
) -> io::Result<()> {
    let options = CString::new(options)?;
    rustix::mount::mount(source, target, kind, flags, options.as_c_str())
        .map_err(|error| io::Error::other(format!("cannot mount {kind} on {}: {error}", target.display())))
}

pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    rustix::mount::mount_bind(source, target)
        .map_err(|error| io::Error::other(format!("cannot bind {}: {error}", source.display())))
}

pub(super) fn told(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}
