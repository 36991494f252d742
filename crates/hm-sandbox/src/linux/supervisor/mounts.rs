//! Mounting, with errors that say what could not be mounted where.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::mount::MountFlags;

use crate::linux::protocol::{Bind, Overlay};
use hm_fs::Marks;

/// How often a mount is tried again that the kernel calls busy.
const ATTEMPTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(2);

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
    let complete = |how: &str| {
        let mut options = options.clone();
        options.push(",");
        options.push(how);
        // Unmounting must not flush the whole file system; the store syncs what it keeps.
        options.push(",volatile");
        CString::new(options.into_vec())
    };
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    let target = Place::find(root, &overlay.target)?;
    let mount = |options: &CString| {
        rustix::mount::mount("overlay", target.path(), "overlay", flags, options.as_c_str())
    };
    let usual = Marks::of_process().options();
    let mut options = complete(usual)?;
    let mut mounted = mount(&options);
    // With an index the kernel waits for nobody who still has the overlay that a layer was written through, as a step
    // has that is just being started.
    for _ in 0..ATTEMPTS {
        if mounted != Err(rustix::io::Errno::BUSY) {
            break;
        }
        std::thread::sleep(PAUSE);
        mounted = mount(&options);
    }
    if mounted == Err(rustix::io::Errno::BUSY) {
        options = complete(&usual.replace("index=on", "index=off"))?;
        mounted = mount(&options);
    }
    mounted.map_err(|error| {
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

/// Shows a directory or file of the host read-only below `root`.
pub(super) fn bind_read_only(root: &Path, exposed: &Bind) -> io::Result<()> {
    let target = Place::find(root, &exposed.target)?;
    rustix::mount::mount_bind_recursive(&exposed.source, target.path()).map_err(|error| {
        io::Error::other(format!(
            "cannot show {} read-only: {error}",
            exposed.source.display()
        ))
    })?;
    let mounted = Place::find(root, &exposed.target)?;
    remount_read_only(mounted.path(), MountFlags::NOSUID | MountFlags::NODEV)
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

/// A place within a root. A step may have put a symbolic link anywhere in it: the path is resolved as the step
/// would resolve it, and never leads out of the root.
#[derive(Debug)]
pub(super) struct Place {
    /// Keeps `path` valid.
    fd: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// Finds `path` of the step below `root`, on top of whatever is mounted there.
    pub(super) fn find(root: &Path, path: &Path) -> io::Result<Self> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let failed = |error| io::Error::other(format!("cannot mount on {}: {error}", path.display()));
        let root = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = loop {
            match rustix::fs::openat2(&root, inside, flags, Mode::empty(), resolve) {
                Err(rustix::io::Errno::AGAIN) => {}
                found => break found.map_err(failed)?,
            }
        };
        let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        Ok(Self { fd, path })
    }

    /// A path that leads there as long as this value lives.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The most of a file that [`read`] reads.
const READ: u64 = 4 << 20;

/// The text of a regular file of the step, found as the step would find it. A step may have put anything there: what
/// is no such file, or a huge one, is an error.
pub(super) fn read(root: &Path, path: &Path) -> io::Result<String> {
    let place = Place::find(root, path)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let is_file = |file: &std::fs::Metadata| file.is_file() && file.len() <= READ;
    // Before it is opened: opening a device can have effects.
    if !std::fs::metadata(place.path()).is_ok_and(|file| is_file(&file)) {
        return Err(io::Error::other(format!("{} is no regular file", path.display())));
    }
    let file = rustix::fs::open(place.path(), flags, Mode::empty())?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds a directory of the step, and makes it and those above it where they are missing.
pub(super) fn make_directory(root: &Path, path: &Path) -> io::Result<Place> {
    if let Ok(found) = Place::find(root, path) {
        return Ok(found);
    }
    let mut above: Vec<_> = path
        .ancestors()
        .filter(|path| path.file_name().is_some())
        .collect();
    above.reverse();
    for directory in above {
        make(root, directory, |parent, name| {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        })?;
    }
    Place::find(root, path)
}

/// Finds a file of the step, and makes an empty one where it is missing.
pub(super) fn make_file(root: &Path, path: &Path) -> io::Result<Place> {
    if let Ok(found) = Place::find(root, path) {
        return Ok(found);
    }
    if let Some(directory) = path.parent() {
        make_directory(root, directory)?;
    }
    make(root, path, |parent, name| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    })?;
    Place::find(root, path)
}

/// Makes one thing in a directory that is there; never through a link that is the last part of its path.
fn make(
    root: &Path,
    path: &Path,
    make: impl FnOnce(&OwnedFd, &OsStr) -> rustix::io::Result<()>,
) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    match make(&Place::find(root, directory)?.fd, name) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(io::Error::other(format!(
            "cannot make {}: {error}",
            path.display()
        ))),
    }
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
