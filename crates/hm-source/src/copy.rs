//! Copying one file out of the worktree, whole and as of one moment.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::error::SourceError;
use super::manifest::{Kind, Stat};
use super::scan::{kind_of, stat_of};

const ATTEMPTS: usize = 6;
const BUFFER: usize = 128 * 1024;
static HOLE: [u8; BUFFER] = [0; BUFFER];

/// What was read, as the file system described it before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub stat: Stat,
    pub digest: [u8; 32],
    /// Where a link points.
    pub target: Vec<u8>,
    /// It changed all the while: it may never have held just this.
    pub is_torn: bool,
}

/// One thread's means of copying.
#[derive(Debug)]
pub(super) struct Copier<'a> {
    buffer: Vec<u8>,
    /// Whether the file system may share blocks between two files; cleared at the first refusal.
    shares_blocks: &'a AtomicBool,
}

/// It is not there any more, or is something else now.
fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

impl<'a> Copier<'a> {
    pub fn new(shares_blocks: &'a AtomicBool) -> Self {
        Self {
            buffer: Vec::new(),
            shares_blocks,
        }
    }

    /// Reads a file's content, and writes it to `to` where that is given; `None` when it is gone.
    ///
    /// Of a file that grows meanwhile, what it held at the first look is taken. One that is written over all the
    /// time is taken as it was read last, and that is noted.
    pub fn file(&mut self, from: &Path, to: Option<&Path>) -> Result<Option<Content>, SourceError> {
        // A pipe put in its place must not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut source = match rustix::fs::open(from, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) if is_gone(error) => return Ok(None),
            Err(error) => return Err(SourceError::unreadable(from)(error)),
        };
        let mut copy = to.map(|to| create(to).map(|file| (file, to))).transpose()?;
        for attempt in 1.. {
            let before = rustix::fs::fstat(&source).map_err(SourceError::unreadable(from))?;
            if kind_of(&before) != Some(Kind::File) {
                return Ok(None);
            }
            let mut before = stat_of(&before);
            source.rewind().map_err(SourceError::unreadable(from))?;
            let (digest, length) = match &mut copy {
                Some((file, to)) => self.transfer(&mut source, from, file, to, before.size)?,
                None => self.read(&mut source, from, before.size, None)?,
            };
            let is_last = attempt >= ATTEMPTS;
            let is_whole = self.is_whole(&mut source, from, &before, (digest, length))?;
            if !is_whole && !is_last {
                continue;
            }
            before.size = length;
            if let Some((file, to)) = &copy {
                seal(file, &before).map_err(SourceError::io("cannot set the times of", to))?;
            }
            return Ok(Some(Content {
                stat: before,
                digest,
                target: Vec::new(),
                is_torn: !is_whole,
            }));
        }
        Ok(None)
    }

    /// Whether what was just read is what the file held at one moment: nothing changed, or it only grew.
    fn is_whole(
        &mut self,
        source: &mut File,
        from: &Path,
        before: &Stat,
        read: ([u8; 32], u64),
    ) -> Result<bool, SourceError> {
        let after = rustix::fs::fstat(&*source).map_err(SourceError::unreadable(from))?;
        let after = stat_of(&after);
        if after == *before {
            return Ok(read.1 == before.size);
        }
        if after.size < before.size || read.1 < before.size {
            return Ok(false);
        }
        source.rewind().map_err(SourceError::unreadable(from))?;
        Ok(self.read(source, from, before.size, None)? == read)
    }

    /// Copies the first `size` bytes.
    fn transfer(
        &mut self,
        source: &mut File,
        from: &Path,
        copy: &mut File,
        to: &Path,
        size: u64,
    ) -> Result<([u8; 32], u64), SourceError> {
        copy.rewind().map_err(SourceError::io("cannot write", to))?;
        if size >= BUFFER as u64 && self.shares_blocks.load(Ordering::Relaxed) {
            if share_blocks(source, copy) {
                let length = copy.metadata().map_err(SourceError::io("cannot read", to))?.len();
                let length = length.min(size);
                copy.set_len(length)
                    .map_err(SourceError::io("cannot write", to))?;
                return self.read(copy, to, length, None);
            }
            self.shares_blocks.store(false, Ordering::Relaxed);
        }
        copy.set_len(0).map_err(SourceError::io("cannot write", to))?;
        let read = self.read(source, from, size, Some((copy, to)))?;
        // What ends in a hole has not been written to its end.
        let end = copy
            .stream_position()
            .map_err(SourceError::io("cannot write", to))?;
        copy.set_len(end).map_err(SourceError::io("cannot write", to))?;
        Ok(read)
    }

    /// Reads at most `most` bytes; their digest, and how many there were.
    fn read(
        &mut self,
        source: &mut File,
        from: &Path,
        most: u64,
        mut copy: Option<(&mut File, &Path)>,
    ) -> Result<([u8; 32], u64), SourceError> {
        self.buffer.resize(BUFFER, 0);
        let mut hasher = blake3::Hasher::new();
        let mut length = 0;
        loop {
            let room = usize::try_from(most - length).map_or(BUFFER, |left| left.min(BUFFER));
            let piece = self.buffer.get_mut(..room).unwrap_or_default();
            let count = match source.read(piece) {
                Ok(0) => return Ok((*hasher.finalize().as_bytes(), length)),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SourceError::unreadable(from)(error)),
            };
            length += count as u64;
            let piece = self.buffer.get(..count).unwrap_or_default();
            hasher.update(piece);
            if let Some((file, to)) = &mut copy {
                // A hole stays one: a sparse disk image would eat the disk otherwise.
                let written = if piece == HOLE {
                    file.seek(SeekFrom::Current(count as i64)).map(drop)
                } else {
                    file.write_all(piece)
                };
                written.map_err(SourceError::io("cannot write", to))?;
            }
        }
    }
}

fn create(to: &Path) -> Result<File, SourceError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(to, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(SourceError::io("cannot create", to))
}

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
fn share_blocks(source: &File, copy: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
fn share_blocks(_: &File, _: &File) -> bool {
    false
}

/// Only the modification time is kept: nothing can set the other two.
pub(super) fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT as _,
        },
        last_modification: Timespec {
            tv_sec: mtime.div_euclid(1_000_000_000) as _,
            tv_nsec: mtime.rem_euclid(1_000_000_000) as _,
        },
    }
}

fn seal(file: &File, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(stat.mode as _))?;
    rustix::fs::futimens(file, &times(stat.mtime))
}

/// Gives a file its mode and time.
pub(super) fn seal_path(path: &Path, stat: &Stat) -> Result<(), SourceError> {
    let file = File::options().write(true).open(path);
    let file = file.map_err(SourceError::io("cannot open", path))?;
    seal(&file, stat).map_err(SourceError::io("cannot set the times of", path))
}

/// Reads a link, and makes the same at `to` where that is given; `None` when it is gone.
pub(super) fn link(from: &Path, to: Option<&Path>) -> Result<Option<Content>, SourceError> {
    for attempt in 1.. {
        let before = match rustix::fs::statat(CWD, from, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if kind_of(&stat) == Some(Kind::Symlink) => stat_of(&stat),
            Ok(_) => return Ok(None),
            Err(error) if is_gone(error) => return Ok(None),
            Err(error) => return Err(SourceError::unreadable(from)(error)),
        };
        let target = match std::fs::read_link(from) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SourceError::unreadable(from)(error)),
        };
        let after = rustix::fs::statat(CWD, from, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat_of(&stat));
        let is_whole = after == Ok(before);
        if !is_whole && attempt < ATTEMPTS {
            // Reading a link changes nothing that is compared: somebody else did.
            continue;
        }
        let target = target.as_os_str().as_bytes().to_vec();
        if let Some(to) = to {
            make_link(&target, to, before.mtime)?;
        }
        return Ok(Some(Content {
            stat: before,
            digest: *blake3::hash(&target).as_bytes(),
            target,
            is_torn: !is_whole,
        }));
    }
    Ok(None)
}

/// Makes a symbolic link with its time.
pub(super) fn make_link(target: &[u8], to: &Path, mtime: i64) -> Result<(), SourceError> {
    rustix::fs::symlink(target, to).map_err(SourceError::io("cannot make the link", to))?;
    rustix::fs::utimensat(CWD, to, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(SourceError::io("cannot set the times of", to))
}
