//! One file's copy. Holes stay holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Timestamps};
use rustix::io::Errno;

use super::entry::{open, reason};
use hm_vm::patterns::Budget;
use hm_vm::{Result, VmError};

/// Copies a file to the same path below `into`, or says why not.
pub(super) fn copy(workspace: &OwnedFd, path: &Path, into: &OwnedFd, budget: &mut Budget) -> Result<()> {
    // A pipe that has just taken the file's place must not be waited for.
    let opened = open(workspace, path, OFlags::RDONLY | OFlags::NONBLOCK);
    let stat = opened.and_then(|file| Ok((rustix::fs::fstat(&file)?, file)));
    let (stat, file) = match stat {
        Ok((stat, file)) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => (stat, file),
        Ok(_) => {
            budget.leave_out(path, "it is no regular file");
            return Ok(());
        }
        Err(errno) => {
            budget.leave_out(path, &reason(errno));
            return Ok(());
        }
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if !budget.admit(path, size) {
        return Ok(());
    }
    let mode = if stat.st_mode & 0o111 == 0 { 0o644 } else { 0o755 };
    let cannot = |source| VmError::io("cannot copy out", path)(source);
    let copy = create(into, path, Mode::from_raw_mode(mode)).map_err(cannot)?;
    fill(&mut file.into(), &mut &copy, size).map_err(cannot)?;
    let times = Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    // A copy with another time is as good.
    let _ = rustix::fs::futimens(&copy, &times);
    Ok(())
}

fn create(into: &OwnedFd, path: &Path, mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(into, path, flags, mode);
    let created = match open() {
        Err(Errno::NOENT) => {
            let mut above: Vec<_> = path.ancestors().skip(1).collect();
            above.reverse();
            for directory in above.into_iter().filter(|path| !path.as_os_str().is_empty()) {
                match rustix::fs::mkdirat(into, directory, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            open()
        }
        created => created,
    };
    Ok(created?.into())
}

/// Copies what is data of the first `size` bytes; a file that shrinks meanwhile ends in a hole.
fn fill(from: &mut File, to: &mut &File, size: u64) -> io::Result<()> {
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&*from, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // A file system that does not tell.
            Err(_) => at,
        };
        let hole = rustix::fs::seek(&*from, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size);
        let end = hole.min(size);
        if data >= end {
            break;
        }
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        if io::copy(&mut from.take(end - data), to)? < end - data {
            break;
        }
        at = end;
    }
    to.flush()
}
