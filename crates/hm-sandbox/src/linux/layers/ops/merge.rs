//! Merging one part of several layers into one, so that a stack with the merged layer shows what the stack
//! with the single ones showed. Where the source and the image still lie below them, what they hide there must
//! stay hidden: whiteouts and opaque marks are kept.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use super::overlay::{self, Hiding};
use hm_vm::{Result, VmError};

/// A directory to make.
struct Job {
    /// The directories that it merges, topmost first: all but the last let the next one show through.
    sources: Vec<PathBuf>,
    destination: PathBuf,
    /// Nothing below the merged layers shows through here, so nothing there needs hiding.
    closed: bool,
}

/// What the merged layer has under one name.
enum Slot {
    /// A file, a link, ...: the topmost one's path.
    Leaf(PathBuf),
    /// Nothing, and nothing from below either.
    Whiteout { path: PathBuf, marked: bool },
    /// A directory: those that merge, topmost first, and whether what is below them is hidden.
    Directory { sources: Vec<PathBuf>, closed: bool },
}

/// `linked`: only files below these directories are linked, others are copied; nothing where all are linked.
pub(super) fn merge(
    sources: Vec<PathBuf>,
    destination: PathBuf,
    closed: bool,
    linked: Option<&[&Path]>,
) -> Result<()> {
    let mut finished = Vec::new();
    make_directory(&destination)?;
    let mut jobs = vec![Job {
        sources,
        destination,
        closed,
    }];
    while let Some(job) = jobs.pop() {
        merge_directory(&job, linked, &mut jobs)?;
        if let Some(topmost) = job.sources.into_iter().next() {
            finished.push((topmost, job.destination));
        }
    }
    // A directory's time changes with every entry made in it, and its mode may forbid making any.
    for (like, destination) in finished.into_iter().rev() {
        finish_directory(&like, &destination)?;
    }
    Ok(())
}

fn merge_directory(job: &Job, linked: Option<&[&Path]>, jobs: &mut Vec<Job>) -> Result<()> {
    let mut slots: BTreeMap<OsString, Slot> = BTreeMap::new();
    for source in &job.sources {
        collect(source, &mut slots)?;
    }
    let (mut whiteouts, mut marked_files) = (false, false);
    for (name, slot) in slots {
        let destination = job.destination.join(name);
        match slot {
            Slot::Leaf(path)
                if linked.is_none_or(|linked| linked.iter().any(|above| path.starts_with(above))) =>
            {
                link(&path, &destination)?;
            }
            Slot::Leaf(path) => copy(&path, &destination)?,
            Slot::Whiteout { .. } if job.closed => {}
            Slot::Whiteout { path, marked } => {
                whiteouts = true;
                marked_files |= marked;
                link(&path, &destination)?;
            }
            Slot::Directory { sources, closed } => {
                make_directory(&destination)?;
                if let Some(topmost) = sources.first() {
                    copy_attributes(topmost, &destination)?;
                }
                if closed && !job.closed {
                    set_hiding(&destination, Hiding::All)?;
                }
                jobs.push(Job {
                    sources,
                    destination,
                    closed: closed || job.closed,
                });
            }
        }
    }
    if whiteouts {
        overlay::set_may_hold_whiteouts(&job.destination)
            .map_err(VmError::io("cannot mark", &job.destination))?;
    }
    if marked_files {
        set_hiding(&job.destination, Hiding::MarkedFiles)?;
    }
    Ok(())
}

/// Adds what one directory has to what those above it have.
fn collect(source: &Path, slots: &mut BTreeMap<OsString, Slot>) -> Result<()> {
    let has_marked_files = hiding(source)? == Hiding::MarkedFiles;
    let cannot = |error| VmError::io("cannot list", source)(error);
    for entry in std::fs::read_dir(source).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(VmError::io("cannot read", &path))?;
        let is_directory = metadata.is_dir();
        match slots.get_mut(&entry.file_name()) {
            Some(Slot::Directory {
                sources,
                closed: closed @ false,
            }) => {
                if is_directory {
                    *closed = hiding(&path)? == Hiding::All;
                    sources.push(path);
                } else {
                    // A file between two directories hides the lower one.
                    *closed = true;
                }
            }
            Some(_) => {}
            None => {
                let slot = if is_directory {
                    let closed = hiding(&path)? == Hiding::All;
                    Slot::Directory {
                        sources: vec![path],
                        closed,
                    }
                } else if overlay::is_device_whiteout(&metadata) {
                    Slot::Whiteout { path, marked: false }
                } else if has_marked_files && overlay::is_marked_whiteout(&path, &metadata) {
                    Slot::Whiteout { path, marked: true }
                } else {
                    Slot::Leaf(path)
                };
                slots.insert(entry.file_name(), slot);
            }
        }
    }
    Ok(())
}

fn hiding(directory: &Path) -> Result<Hiding> {
    overlay::hiding(directory).map_err(VmError::io("cannot read", directory))
}

fn set_hiding(directory: &Path, hiding: Hiding) -> Result<()> {
    overlay::set_hiding(directory, hiding).map_err(VmError::io("cannot mark", directory))
}

fn link(from: &Path, to: &Path) -> Result<()> {
    std::fs::hard_link(from, to).map_err(VmError::io("cannot link", from))
}

/// Copies what is no directory, with its owner, mode, attributes and time.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cannot = VmError::io("cannot copy", from);
    let metadata = read(from)?;
    let kind = metadata.file_type();
    let copied = if kind.is_symlink() {
        std::fs::read_link(from).and_then(|target| std::os::unix::fs::symlink(target, to))
    } else if kind.is_file() {
        std::fs::copy(from, to).map(drop)
    } else {
        let kind = rustix::fs::FileType::from_raw_mode(metadata.mode());
        rustix::fs::mknodat(CWD, to, kind, Mode::empty(), metadata.rdev()).map_err(Into::into)
    };
    copied.map_err(cannot)?;
    own(&metadata, to)?;
    if !kind.is_symlink() {
        rustix::fs::chmod(to, Mode::from_raw_mode(metadata.mode() & 0o7777))
            .map_err(|errno| VmError::io("cannot change", to)(errno.into()))?;
        copy_attributes(from, to)?;
    }
    set_times(&metadata, to)
}

fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(VmError::io("cannot create", path))
}

/// Gives a file the owner of another.
fn own(like: &Metadata, to: &Path) -> Result<()> {
    let now = read(to)?;
    if (like.uid(), like.gid()) == (now.uid(), now.gid()) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(like.uid()), Gid::from_raw(like.gid()));
    rustix::fs::chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| VmError::io("cannot change", to)(errno.into()))
}

/// Gives a file the times of another.
pub(super) fn set_times(like: &Metadata, to: &Path) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: like.atime(),
            tv_nsec: like.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: like.mtime(),
            tv_nsec: like.mtime_nsec(),
        },
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| VmError::io("cannot change", to)(errno.into()))
}

/// Makes a directory like another one, without what is in it.
pub(super) fn directory_like(like: &Path, directory: &Path) -> Result<()> {
    make_directory(directory)?;
    copy_attributes(like, directory)?;
    finish_directory(like, directory)
}

/// Copies the extended attributes, but for overlayfs's own: those say what a directory was copied from.
fn copy_attributes(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{lgetxattr, llistxattr, lsetxattr};
    use rustix::io::Errno;
    let cannot = |errno: Errno| VmError::io("cannot copy the attributes of", from)(errno.into());
    let names = match with_buffer(|buffer| llistxattr(from, buffer)) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(cannot(errno)),
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let value = with_buffer(|buffer| lgetxattr(from, name, buffer)).map_err(cannot)?;
        match lsetxattr(to, name, &value, XattrFlags::empty()) {
            // A label that the kernel gives by itself, such as SELinux's.
            Err(Errno::PERM | Errno::NOTSUP) if name.starts_with(b"security.") => {}
            set => set.map_err(cannot)?,
        }
    }
    Ok(())
}

/// What `read` puts into a buffer: a small one, then one as large as the kernel's limit.
fn with_buffer(mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0u8; 256];
    match read(&mut small) {
        Ok(size) => Ok(small[..size].to_vec()),
        Err(rustix::io::Errno::RANGE) => {
            let mut large = vec![0u8; 65536];
            let size = read(&mut large)?;
            large.truncate(size);
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}

/// Gives a directory the owner, the mode and the times of another.
fn finish_directory(like: &Path, directory: &Path) -> Result<()> {
    let cannot = |errno: rustix::io::Errno| VmError::io("cannot change", directory)(errno.into());
    let like = read(like)?;
    own(&like, directory)?;
    rustix::fs::chmod(directory, Mode::from_raw_mode(like.mode() & 0o7777)).map_err(cannot)?;
    set_times(&like, directory)
}

pub(super) fn read(path: &Path) -> Result<Metadata> {
    std::fs::symlink_metadata(path).map_err(VmError::io("cannot read", path))
}
