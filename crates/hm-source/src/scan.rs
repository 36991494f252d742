//! Listing a worktree: every path that git would not ignore, with what the file system says of it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::SourceError;
use super::ignores::{Ignores, Surroundings, User, repository_wide, surroundings};
use super::manifest::{Kind, Stat};
use super::repository::Repository;
use super::tracked::Scope;

/// Directories that one thread reads before others join in: a small tree is done by then.
const ALONE: usize = 16;

/// What to list.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub worktree: &'a Path,
    /// Files and directories that are left out, relative to the worktree.
    pub hidden: &'a [Vec<u8>],
    /// What the user's own settings say.
    pub user: User<'a>,
    /// Nothing is left out for being ignored.
    pub takes_ignored: bool,
}

/// One path found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    start: u32,
    len: u32,
    pub kind: Kind,
    pub stat: Stat,
}

/// A worktree's listing, sorted.
#[derive(Debug, Default)]
pub(super) struct Scan {
    names: Vec<u8>,
    pub seen: Vec<Seen>,
    /// The root itself.
    pub root: Stat,
    /// The directories that hold a `.git`, which is not listed, sorted; the root is the empty path.
    pub dot_gits: Vec<Vec<u8>>,
    /// What git would take for source and cannot be brought in, with what it is; sorted.
    pub special: Vec<(Vec<u8>, &'static str)>,
}

impl Scan {
    /// A listing of what is given, in the order of paths.
    pub fn of(found: Vec<(Vec<u8>, (Kind, Stat))>, worktree: &Path) -> Result<Self, SourceError> {
        let mut scan = Self::default();
        for (path, (kind, stat)) in found {
            scan.push(&path, kind, stat, worktree)?;
        }
        Ok(scan)
    }

    fn push(&mut self, path: &[u8], kind: Kind, stat: Stat, worktree: &Path) -> Result<(), SourceError> {
        let start = u32::try_from(self.names.len()).map_err(|_| SourceError::TooLarge {
            path: worktree.to_owned(),
        })?;
        self.names.extend_from_slice(path);
        self.seen.push(Seen {
            start,
            len: u32::try_from(path.len()).unwrap_or(u32::MAX),
            kind,
            stat,
        });
        Ok(())
    }

    pub fn path(&self, seen: &Seen) -> &[u8] {
        let start = seen.start as usize;
        self.names
            .get(start..start + seen.len as usize)
            .unwrap_or_default()
    }
}

/// One directory to read.
struct Job {
    number: usize,
    /// Within the repository; ends with a separator unless it is empty.
    path: Vec<u8>,
    ignores: Option<Arc<Ignores>>,
    /// The repository it lies in.
    scope: Arc<Scope>,
    /// The directory is ignored: only what git tracks in spite of that is taken.
    is_ignored: bool,
}

/// One directory's content, sorted by name.
#[derive(Default)]
struct Listing {
    names: Vec<u8>,
    items: Vec<Item>,
    has_dot_git: bool,
    special: Vec<(Vec<u8>, &'static str)>,
}

/// What a directory's entries inherit from it.
struct Below {
    ignores: Option<Arc<Ignores>>,
    scope: Arc<Scope>,
    is_ignored: bool,
}

struct Item {
    start: usize,
    end: usize,
    kind: Kind,
    stat: Stat,
    is_ignored: bool,
    /// The number of the listing below.
    listing: usize,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    busy: usize,
    numbers: usize,
    listings: Vec<Option<Listing>>,
    dot_gits: Vec<Vec<u8>>,
    special: Vec<(Vec<u8>, &'static str)>,
    failed: Option<SourceError>,
}

struct Walker<'a> {
    request: &'a Request<'a>,
    root: OwnedFd,
    prefix: usize,
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// Lists a worktree.
pub(super) fn scan(request: &Request<'_>) -> Result<Scan, SourceError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(request.worktree, flags, Mode::empty())
        .map_err(SourceError::unreadable(request.worktree))?;
    let stat = rustix::fs::fstat(&root).map_err(SourceError::unreadable(request.worktree))?;
    let Surroundings {
        ignores,
        prefix,
        repository,
    } = surroundings(request.worktree, request.user);
    let scope = Arc::new(Scope::new(repository, 0));
    let walker = Walker {
        request,
        root,
        prefix: prefix.len(),
        queue: Mutex::new(Queue {
            jobs: vec![Job {
                number: 0,
                path: prefix,
                ignores,
                scope,
                is_ignored: false,
            }],
            numbers: 1,
            ..Queue::default()
        }),
        wake: Condvar::new(),
    };
    walker.work(ALONE);
    if !walker.lock().jobs.is_empty() {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| walker.work(usize::MAX));
            }
            walker.work(usize::MAX);
        });
    }
    let queue = walker.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    match queue.failed {
        Some(error) => Err(error),
        None => {
            let mut scan = flatten(&queue.listings, stat_of(&stat), request.worktree)?;
            scan.dot_gits = queue.dot_gits;
            scan.dot_gits.sort_unstable();
            scan.special = queue.special;
            scan.special.sort_unstable();
            Ok(scan)
        }
    }
}

impl Walker<'_> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads directories until none is left, or until `most` were read.
    fn work(&self, most: usize) {
        let mut queue = self.lock();
        let mut done = 0;
        while done < most && queue.failed.is_none() {
            let Some(job) = queue.jobs.pop() else {
                if queue.busy == 0 {
                    break;
                }
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.busy += 1;
            drop(queue);
            let read = self.read(&job);
            queue = self.lock();
            queue.busy -= 1;
            done += 1;
            match read {
                Ok((listing, below)) => self.take(&mut queue, &job, listing, &below),
                Err(error) => queue.failed = Some(error),
            }
            if queue.jobs.len() > 1 || queue.busy == 0 || queue.failed.is_some() {
                self.wake.notify_all();
            }
        }
        drop(queue);
        self.wake.notify_all();
    }

    fn take(&self, queue: &mut Queue, job: &Job, mut listing: Listing, below: &Below) {
        if listing.has_dot_git {
            let relative = job.path.get(self.prefix..).unwrap_or_default();
            let path = relative.strip_suffix(b"/").unwrap_or(relative);
            queue.dot_gits.push(path.to_vec());
        }
        queue.special.append(&mut listing.special);
        for item in &mut listing.items {
            if item.kind != Kind::Directory {
                continue;
            }
            item.listing = queue.numbers;
            queue.numbers += 1;
            let name = listing.names.get(item.start..item.end).unwrap_or_default();
            let mut path = Vec::with_capacity(job.path.len() + name.len() + 1);
            path.extend_from_slice(&job.path);
            path.extend_from_slice(name);
            path.push(b'/');
            queue.jobs.push(Job {
                number: item.listing,
                path,
                ignores: below.ignores.clone(),
                scope: Arc::clone(&below.scope),
                is_ignored: item.is_ignored,
            });
        }
        let numbers = queue.numbers;
        queue.listings.resize_with(numbers, || None);
        if let Some(slot) = queue.listings.get_mut(job.number) {
            *slot = Some(listing);
        }
    }

    fn absolute(&self, relative: &[u8]) -> PathBuf {
        self.request.worktree.join(OsStr::from_bytes(relative))
    }

    /// What holds in a directory: the patterns, and which repository it is in.
    fn enter(&self, job: &Job, has_dot_git: bool) -> Result<Below, SourceError> {
        let relative = job.path.get(self.prefix..).unwrap_or_default();
        let here = relative.strip_suffix(b"/").unwrap_or_default();
        let inherited = Below {
            ignores: job.ignores.clone(),
            scope: Arc::clone(&job.scope),
            is_ignored: job.is_ignored,
        };
        if !has_dot_git || here.is_empty() || self.request.takes_ignored {
            return Ok(inherited);
        }
        let user = self.request.user;
        let Some(repository) = Repository::at(&self.absolute(here), user.home) else {
            return Ok(inherited);
        };
        if job
            .scope
            .tracks_below(job.path.strip_suffix(b"/").unwrap_or_default())?
        {
            return Ok(inherited);
        }
        // A repository of its own: the outer one's patterns end here.
        let skip = job.path.len();
        Ok(Below {
            ignores: repository_wide(&repository, user, skip),
            scope: Arc::new(Scope::new(Some(repository), skip)),
            is_ignored: false,
        })
    }

    /// Reads one directory. Returns what it holds, and what is true of what is below.
    fn read(&self, job: &Job) -> Result<(Listing, Below), SourceError> {
        let relative = job.path.get(self.prefix..).unwrap_or_default();
        let here = relative.strip_suffix(b"/").unwrap_or(b".");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.root, OsStr::from_bytes(here), flags, Mode::empty());
        let directory = match opened {
            Ok(directory) => directory,
            // It went away since its parent was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Ok((Listing::default(), self.enter(job, false)?));
            }
            Err(error) => return Err(SourceError::unreadable(&self.absolute(here))(error)),
        };
        let mut found = Vec::new();
        let mut has_ignore_file = false;
        let mut listing = Listing::default();
        let mut stream = Dir::read_from(&directory).map_err(SourceError::unreadable(&self.absolute(here)))?;
        while let Some(entry) = stream.read() {
            let entry = entry.map_err(SourceError::unreadable(&self.absolute(here)))?;
            match entry.file_name().to_bytes() {
                b"." | b".." => continue,
                b".git" => {
                    listing.has_dot_git = true;
                    continue;
                }
                b".gitignore" => has_ignore_file = true,
                _ => {}
            }
            found.push(entry);
        }
        found.sort_unstable_by(|a, b| a.file_name().cmp(b.file_name()));
        let mut below = self.enter(job, listing.has_dot_git)?;
        if has_ignore_file && let Some(text) = read_patterns(&directory) {
            below.ignores = Ignores::enter(below.ignores, &text, job.path.len(), below.scope.case());
        }
        let mut path = job.path.clone();
        for entry in found {
            let name = entry.file_name().to_bytes();
            path.truncate(job.path.len());
            path.extend_from_slice(name);
            let stat = match rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    let path = path.get(self.prefix..).unwrap_or_default();
                    return Err(SourceError::unreadable(&self.absolute(path))(error));
                }
            };
            let kind = kind_of(&stat);
            let is_directory = kind == Some(Kind::Directory);
            let is_ignored = !self.request.takes_ignored
                && (below.is_ignored
                    || below
                        .ignores
                        .as_ref()
                        .is_some_and(|ignores| ignores.leaves_out(&path, is_directory)));
            if is_ignored && !below.scope.tracks(&path, is_directory)? {
                continue;
            }
            let relative = path.get(self.prefix..).unwrap_or_default();
            let Some(kind) = kind else {
                listing.special.push((relative.to_vec(), special(&stat)));
                continue;
            };
            if self.is_hidden(relative) {
                continue;
            }
            let start = listing.names.len();
            listing.names.extend_from_slice(name);
            listing.items.push(Item {
                start,
                end: listing.names.len(),
                kind,
                stat: stat_of(&stat),
                is_ignored,
                listing: 0,
            });
        }
        Ok((listing, below))
    }

    fn is_hidden(&self, path: &[u8]) -> bool {
        self.request.hidden.iter().any(|hidden| hidden == path)
    }
}

fn read_patterns(directory: &OwnedFd) -> Option<Vec<u8>> {
    use std::io::Read;
    // A link is not followed, by git neither; a pipe must not block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(directory, ".gitignore", flags, Mode::empty()).ok()?;
    let mut text = Vec::new();
    std::fs::File::from(file).read_to_end(&mut text).ok()?;
    Some(text)
}

pub(super) fn kind_of(stat: &rustix::fs::Stat) -> Option<Kind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Directory => Some(Kind::Directory),
        _ => None,
    }
}

/// What a path is that is no source.
fn special(stat: &rustix::fs::Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        _ => "neither file nor directory",
    }
}

/// The fields that tell whether a file changed. Of the mode, only what a step may have of it: no set-user-ID, no
/// set-group-ID and no sticky bit, for the file becomes hm's own.
#[cfg_attr(
    target_os = "linux",
    expect(
        clippy::unnecessary_cast,
        reason = "the fields' widths differ between systems"
    )
)]
pub(super) fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let nanoseconds =
        |seconds: i64, nanoseconds: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds);
    Stat {
        size: stat.st_size as u64,
        mtime: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        ino: stat.st_ino as u64,
        // The copy is hm's: a setuid or setgid bit on it would hand hm's rights to whoever can reach it.
        mode: stat.st_mode as u32 & 0o777,
    }
}

/// Puts the directories' listings one behind the other, each directory's content right behind it.
fn flatten(listings: &[Option<Listing>], root: Stat, worktree: &Path) -> Result<Scan, SourceError> {
    let total = listings.iter().flatten().map(|listing| listing.items.len()).sum();
    let mut scan = Scan {
        seen: Vec::with_capacity(total),
        root,
        ..Scan::default()
    };
    let mut path = Vec::new();
    // The listing, the next item in it, and how long the path of its directory is.
    let mut open = vec![(0usize, 0usize, 0usize)];
    while let Some((number, next, len)) = open.pop() {
        let Some(listing) = listings.get(number).and_then(Option::as_ref) else {
            continue;
        };
        let Some(item) = listing.items.get(next) else {
            continue;
        };
        open.push((number, next + 1, len));
        path.truncate(len);
        path.extend_from_slice(listing.names.get(item.start..item.end).unwrap_or_default());
        scan.push(&path, item.kind, item.stat, worktree)?;
        if item.kind == Kind::Directory {
            path.push(b'/');
            open.push((item.listing, 0, path.len()));
        }
    }
    Ok(scan)
}
