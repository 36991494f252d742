//! The way through a machine's workspace, in the order of paths.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::copy;
use super::entry::{open, reason};
use hm_vm::patterns::{Budget, Patterns};
use hm_vm::{Exported, Result, VmError, WORKSPACE};

/// A path below the workspace that is to be looked at.
struct Found {
    path: PathBuf,
    /// A directory above it matched.
    taken: bool,
}

/// Copies what matches into a directory.
pub(super) fn walk(root: &Path, patterns: &Patterns, mut budget: Budget, into: &OwnedFd) -> Result<Exported> {
    let workspace = root.join(WORKSPACE.trim_start_matches('/'));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let workspace = rustix::fs::openat(CWD, &workspace, flags, Mode::empty())
        .map_err(|errno| VmError::io("cannot open", WORKSPACE)(errno.into()))?;
    let mut waiting = vec![Found {
        path: PathBuf::new(),
        taken: false,
    }];
    while let Some(Found { path, taken }) = waiting.pop() {
        let kind = match kind(&workspace, &path) {
            Ok(kind) => kind,
            // Removed meanwhile.
            Err(Errno::NOENT) => continue,
            Err(errno) => {
                budget.leave_out(&path, &reason(errno));
                continue;
            }
        };
        let taken = taken || patterns.matches(&path);
        if kind == FileType::Directory {
            if taken || patterns.may_match_below(&path) {
                match entries(&workspace, &path) {
                    // Topmost on the stack is the first.
                    Ok(names) => waiting.extend(names.into_iter().rev().map(|path| Found { path, taken })),
                    Err(errno) => budget.leave_out(&path, &reason(errno)),
                }
            }
        } else if taken && kind == FileType::RegularFile {
            copy::copy(&workspace, &path, into, &mut budget)?;
        } else if taken && kind == FileType::Symlink {
            budget.leave_out(&path, "it is a link, and links are not followed");
        } else if taken {
            budget.leave_out(&path, "it is no regular file");
        }
    }
    Ok(budget.finish())
}

fn kind(workspace: &OwnedFd, path: &Path) -> rustix::io::Result<FileType> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(FileType::Directory);
    };
    let parent = open(workspace, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// What a directory holds, in order.
fn entries(workspace: &OwnedFd, directory: &Path) -> rustix::io::Result<Vec<PathBuf>> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let opened = open(workspace, directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    for entry in Dir::new(opened)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(directory.join(OsStr::from_bytes(name)));
        }
    }
    names.sort();
    Ok(names)
}
