//! Looks at directories of a root file system, as closely as each of them asks for, and no closer.

use std::fs::Metadata;
use std::hash::Hasher as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::state::{Directory, Entry, State};

/// How closely a directory is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Each file, by what the kernel says of it: size, times, inode.
    Files,
    /// As [`How::Files`], but small files by their content: programs write the same settings again and again.
    Contents,
    /// What is in it, as long as nothing came, went or was replaced: a look at each directory instead of each file.
    Names,
}

/// A directory to look at, and those below it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) how: How,
    /// How many levels below it.
    pub(super) depth: usize,
}

/// A larger file is told by what the kernel says of it.
const SMALL: u64 = 256 << 10;

/// From here on only names are looked at: somebody has a whole disk below /opt.
const FILES: usize = 50_000;

/// Directories of toolchains whose content no build reads, or that programs write to by the way.
const BY_THE_WAY: &[&str] = &[
    ".cache",
    ".git",
    "__pycache__",
    "cache",
    "doc",
    "docs",
    "downloads",
    "include",
    "man",
    "share",
    "src",
    "test",
    "tests",
    "tmp",
];

/// Threads beside this one.
const HELPERS: usize = 3;

/// What is the same for all directories of one look.
struct Look<'a> {
    before: &'a State,
    /// Directories and files that are not looked at.
    leave_out: &'a (dyn Fn(&Path, &Metadata) -> bool + Sync),
    files: AtomicUsize,
}

/// Looks at directories. What `before` knows of those that did not change is used again.
pub(super) fn scan(
    targets: Vec<Target>,
    before: &State,
    leave_out: &(dyn Fn(&Path, &Metadata) -> bool + Sync),
) -> Vec<(String, Directory)> {
    let look = Look {
        before,
        leave_out,
        files: AtomicUsize::new(0),
    };
    let queue = Mutex::new(targets);
    let seen = Mutex::new(Vec::new());
    let work = || {
        let mut own = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(target) = next else { break };
            look.at(&target, &mut own);
        }
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&mut own);
    };
    let helpers = std::thread::available_parallelism().map_or(0, |threads| HELPERS.min(threads.get() - 1));
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(work);
        }
        work();
    });
    seen.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Look<'_> {
    fn at(&self, target: &Target, seen: &mut Vec<(String, Directory)>) {
        let Ok(top) = std::fs::metadata(&target.path) else {
            return;
        };
        let mut waiting = vec![(target.path.clone(), target.depth, top)];
        while let Some((path, depth, metadata)) = waiting.pop() {
            let name = name_of(path.as_os_str());
            let before = self.before.directories.get(&name);
            let mark = mark_of(&metadata);
            let how = match target.how {
                How::Files | How::Contents if self.files.load(Ordering::Relaxed) > FILES => How::Names,
                how => how,
            };
            let known = before.filter(|before| how == How::Names && before.seen == mark);
            let directory = match known {
                Some(known) => known.clone(),
                None => self.list(&path, how, mark, before),
            };
            if depth > 0 {
                for entry in directory.entries.iter().filter(|entry| entry.is_directory) {
                    let below = path.join(&entry.name);
                    // Another file system is not seen through an overlay.
                    if let Ok(found) = std::fs::symlink_metadata(&below)
                        && found.is_dir()
                        && found.dev() == metadata.dev()
                        && !(how == How::Names && BY_THE_WAY.contains(&entry.name.as_str()))
                    {
                        waiting.push((below, depth - 1, found));
                    }
                }
            }
            seen.push((name, directory));
        }
    }

    fn list(&self, path: &Path, how: How, seen: u64, before: Option<&Directory>) -> Directory {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if (self.leave_out)(&path, &metadata) {
                continue;
            }
            let name = name_of(&entry.file_name());
            let is_directory = metadata.is_dir();
            let mut entry = Entry {
                name,
                mark: if is_directory { 0 } else { mark_of(&metadata) },
                seen: 0,
                is_directory,
            };
            if metadata.is_symlink() {
                entry.mark = mark_of_link(&path, &metadata);
            } else if is_directory && how == How::Names {
                // What is deeper than is looked at.
                entry.mark = metadata.ino();
            } else if how == How::Contents && metadata.is_file() && metadata.len() <= SMALL {
                entry.seen = entry.mark;
                let known = before.and_then(|before| before.find(&entry.name));
                let known = known.filter(|known| known.seen == entry.seen);
                if let Some(mark) = known
                    .map(|known| known.mark)
                    .or_else(|| mark_of_content(&path, &metadata))
                {
                    entry.mark = mark;
                }
            }
            entries.push(entry);
        }
        self.files.fetch_add(entries.len(), Ordering::Relaxed);
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Directory { seen, entries }
    }
}

impl Directory {
    fn find(&self, name: &str) -> Option<&Entry> {
        let place = self
            .entries
            .binary_search_by(|entry| entry.name.as_str().cmp(name));
        place.ok().map(|place| &self.entries[place])
    }
}

/// A name as text. Two never become one.
fn name_of(name: &std::ffi::OsStr) -> String {
    match name.to_str() {
        Some(name) => name.to_owned(),
        None => format!(
            "{}#{:016x}",
            name.to_string_lossy(),
            mark_of_bytes(name.as_encoded_bytes())
        ),
    }
}

/// Tells a file from another one, and from itself when it was changed: a change that keeps the modification time does
/// not keep the change time.
pub(super) fn mark_of(metadata: &Metadata) -> u64 {
    let mut hasher = Mark::default();
    for number in [
        u64::from(metadata.mode()),
        metadata.size(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
        metadata.ino(),
    ] {
        hasher.write_u64(number);
    }
    hasher.finish()
}

/// A link is what it leads to, too: /usr/bin/cc leads through /etc/alternatives.
fn mark_of_link(path: &Path, metadata: &Metadata) -> u64 {
    let target = std::fs::metadata(path);
    match target.ok().filter(Metadata::is_file) {
        Some(target) => mark_of(metadata) ^ mark_of(&target).rotate_left(1),
        None => mark_of(metadata),
    }
}

fn mark_of_content(path: &Path, metadata: &Metadata) -> Option<u64> {
    let bytes = std::fs::read(path).ok()?;
    Some(mark_of_bytes(&bytes) ^ u64::from(metadata.mode()))
}

pub(super) fn mark_of_bytes(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// SipHash with fixed keys: the same in every process.
type Mark = std::hash::DefaultHasher;
