//! Removing a tree that a step wrote: any mode, any depth, and never anything outside it.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use hm_vm::{Result, VmError};

/// Deeper directories are first moved up beside the root, so that no tree takes all descriptors or the stack.
const DEPTH: usize = 64;

/// How a removal went.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// Bytes of real blocks that are free now.
    pub(super) freed: u64,
    /// Something is left that this process may not remove.
    pub(super) denied: bool,
    failed: Option<Errno>,
    moved_up: Vec<CString>,
    moves: usize,
    device: u64,
}

pub(super) fn remove_tree(path: &Path) -> Result<Removal> {
    let cannot = |errno: Errno| VmError::io("cannot remove", path)(errno.into());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(cannot(Errno::INVAL));
    };
    let mut removal = Removal::default();
    let top = match rustix::fs::openat(
        CWD,
        parent,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(removal),
        Err(errno) => return Err(cannot(errno)),
    };
    let name = c_name(name).map_err(cannot)?;
    match rustix::fs::statat(&top, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => removal.device = stat.st_dev,
        Err(Errno::NOENT) => return Ok(removal),
        Err(errno) => return Err(cannot(errno)),
    }
    removal.moved_up.push(name);
    while let Some(name) = removal.moved_up.pop() {
        removal.remove_at(top.as_fd(), top.as_fd(), &name, 0);
    }
    match removal.failed {
        Some(errno) => Err(cannot(errno)),
        None => Ok(removal),
    }
}

impl Removal {
    fn remove_at(&mut self, top: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr, depth: usize) {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return self.note(errno),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) if stat.st_nlink <= 1 => self.freed += blocks(&stat),
                Ok(()) => {}
                Err(errno) => self.note(errno),
            }
            return;
        }
        if stat.st_dev != self.device {
            return self.note(Errno::XDEV);
        }
        let directory = match open_directory(parent, name, &stat) {
            Ok(directory) => directory,
            Err(errno) => return self.note(errno),
        };
        if depth >= DEPTH {
            return self.move_up(top, parent, name);
        }
        match names(&directory) {
            Ok(names) => {
                for name in names {
                    self.remove_at(top, directory.as_fd(), &name, depth + 1);
                }
            }
            Err(errno) => self.note(errno),
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => self.freed += blocks(&stat),
            // What is left in it has been noted.
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.denied || self.failed.is_some() => {}
            Err(errno) => self.note(errno),
        }
    }

    fn move_up(&mut self, top: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr) {
        self.moves += 1;
        let unique = format!(
            "deep-{}-{}-{}",
            std::process::id(),
            uuid::Uuid::new_v4().simple(),
            self.moves
        );
        let Ok(unique) = CString::new(unique) else { return };
        match rustix::fs::renameat(parent, name, top, &unique) {
            Ok(()) => self.moved_up.push(unique),
            Err(errno) => self.note(errno),
        }
    }

    fn note(&mut self, errno: Errno) {
        match errno {
            // Somebody else removes the same tree.
            Errno::NOENT => {}
            Errno::ACCESS | Errno::PERM => self.denied = true,
            errno => self.failed = self.failed.or(Some(errno)),
        }
    }
}

/// Opens a directory in which files can be unlinked afterwards, whatever its mode was.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if stat.st_mode & 0o700 != 0o700 && stat.st_uid == rustix::process::geteuid().as_raw() {
        let handle = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
        let by_handle = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
        rustix::fs::chmod(by_handle, Mode::RWXU)?;
    }
    rustix::fs::openat(parent, name, flags | OFlags::RDONLY, Mode::empty())
}

fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn c_name(name: &OsStr) -> rustix::io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
