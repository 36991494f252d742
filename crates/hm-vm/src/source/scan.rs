//! Listing a worktree: every path that git would not ignore, with what the file system says of it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::SourceError;
use super::ignores::{Ignores, Surroundings, repository_wide, surroundings};
use super::manifest::{Kind, Stat};
use super::tracked::Tracked;

/// Directories that one thread reads before others join in: a small tree is done by then.
const ALONE: usize = 16;

/// What to list.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub worktree: &'a Path,
    pub include_git: bool,
    /// Directories that are left out, relative to the worktree.
    pub hidden: &'a [Vec<u8>],
    /// The user's own list of ignored files.
    pub global_excludes: Option<&'a Path>,
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
    /// What `.git` at the root is, where there is one.
    pub dot_git: Option<Kind>,
}

impl Scan {
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
    inside_git: bool,
    /// The directory is ignored: only what git tracks in spite of that is taken.
    is_ignored: bool,
    /// It lies in a repository within the repository, whose index is not read.
    is_nested: bool,
}

/// One directory's content, sorted by name.
#[derive(Default)]
struct Listing {
    names: Vec<u8>,
    items: Vec<Item>,
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
    dot_git: Option<Kind>,
    failed: Option<SourceError>,
}

struct Walker<'a> {
    request: &'a Request<'a>,
    root: OwnedFd,
    prefix: usize,
    global: Option<Vec<u8>>,
    index: Option<PathBuf>,
    tracked: OnceLock<Tracked>,
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
        index,
    } = surroundings(request.worktree, request.global_excludes);
    let walker = Walker {
        request,
        root,
        prefix: prefix.len(),
        global: request.global_excludes.and_then(|path| std::fs::read(path).ok()),
        index,
        tracked: OnceLock::new(),
        queue: Mutex::new(Queue {
            jobs: vec![Job {
                number: 0,
                path: prefix,
                ignores,
                inside_git: false,
                is_ignored: false,
                is_nested: false,
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
        None => flatten(queue.listings, queue.dot_git, stat_of(&stat), request.worktree),
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
                Ok((listing, dot_git, below)) => self.take(&mut queue, &job, listing, dot_git, below),
                Err(error) => queue.failed = Some(error),
            }
            if queue.jobs.len() > 1 || queue.busy == 0 || queue.failed.is_some() {
                self.wake.notify_all();
            }
        }
        drop(queue);
        self.wake.notify_all();
    }

    fn take(
        &self,
        queue: &mut Queue,
        job: &Job,
        mut listing: Listing,
        dot_git: Option<Kind>,
        below: Option<Arc<Ignores>>,
    ) {
        if job.number == 0 {
            queue.dot_git = dot_git;
        }
        let is_nested = job.is_nested || (job.number != 0 && dot_git.is_some());
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
                ignores: below.clone(),
                inside_git: job.inside_git || name == b".git",
                is_ignored: item.is_ignored,
                is_nested,
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

    /// Reads one directory. Returns what it holds, what `.git` in it is, and the patterns for what is below.
    #[expect(
        clippy::type_complexity,
        reason = "three unrelated results, read in one place"
    )]
    fn read(&self, job: &Job) -> Result<(Listing, Option<Kind>, Option<Arc<Ignores>>), SourceError> {
        let relative = job.path.get(self.prefix..).unwrap_or_default();
        let here = relative.strip_suffix(b"/").unwrap_or(b".");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.root, OsStr::from_bytes(here), flags, Mode::empty());
        let directory = match opened {
            Ok(directory) => directory,
            // It went away since its parent was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok((Listing::default(), None, None)),
            Err(error) => return Err(SourceError::unreadable(&self.absolute(here))(error)),
        };
        let mut found = Vec::new();
        let mut has_ignore_file = false;
        let mut has_dot_git = false;
        let mut stream = Dir::read_from(&directory).map_err(SourceError::unreadable(&self.absolute(here)))?;
        while let Some(entry) = stream.read() {
            let entry = entry.map_err(SourceError::unreadable(&self.absolute(here)))?;
            match entry.file_name().to_bytes() {
                b"." | b".." => continue,
                b".hm" if relative.is_empty() => continue,
                b".git" => {
                    has_dot_git = true;
                    if !self.request.include_git {
                        continue;
                    }
                }
                b".gitignore" => has_ignore_file = true,
                _ => {}
            }
            found.push(entry);
        }
        found.sort_unstable_by(|a, b| a.file_name().cmp(b.file_name()));
        let dot_git = if has_dot_git {
            let stat = rustix::fs::statat(&directory, ".git", AtFlags::SYMLINK_NOFOLLOW);
            stat.ok().and_then(|stat| kind_of(&stat))
        } else {
            None
        };
        let mut ignores = job.ignores.clone();
        if has_dot_git && !relative.is_empty() && !job.inside_git {
            // A repository of its own: the outer one's patterns end here.
            ignores = repository_wide(&self.absolute(here), self.global.as_deref(), job.path.len());
        }
        if has_ignore_file
            && !job.inside_git
            && let Some(text) = read_patterns(&directory)
        {
            ignores = Ignores::enter(ignores.as_ref(), &text, job.path.len());
        }
        let is_nested = job.is_nested || (has_dot_git && !relative.is_empty());
        let mut listing = Listing::default();
        let mut path = job.path.clone();
        for entry in found {
            let name = entry.file_name().to_bytes();
            let stat = match rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    path.truncate(job.path.len());
                    path.extend_from_slice(name);
                    let path = path.get(self.prefix..).unwrap_or_default();
                    return Err(SourceError::unreadable(&self.absolute(path))(error));
                }
            };
            // Sockets, pipes and devices are no source.
            let Some(kind) = kind_of(&stat) else { continue };
            path.truncate(job.path.len());
            path.extend_from_slice(name);
            let is_directory = kind == Kind::Directory;
            let inside_git = job.inside_git || name == b".git";
            let ignores = ignores.as_ref().filter(|_| !inside_git);
            let is_ignored = !inside_git
                && !self.request.takes_ignored
                && (job.is_ignored || ignores.is_some_and(|ignores| ignores.leaves_out(&path, is_directory)));
            if is_ignored && (is_nested || !self.is_tracked(&path, is_directory)) {
                continue;
            }
            if is_directory && self.is_hidden(path.get(self.prefix..).unwrap_or_default()) {
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
        Ok((listing, dot_git, ignores))
    }

    /// Whether git tracks an ignored path, or anything in it. The index is read when first asked for.
    fn is_tracked(&self, path: &[u8], is_directory: bool) -> bool {
        let Some(index) = &self.index else { return false };
        let tracked = self.tracked.get_or_init(|| Tracked::read(index));
        if is_directory {
            tracked.has_below(path)
        } else {
            tracked.has(path)
        }
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

/// The fields that tell whether a file changed.
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
fn flatten(
    listings: Vec<Option<Listing>>,
    dot_git: Option<Kind>,
    root: Stat,
    worktree: &Path,
) -> Result<Scan, SourceError> {
    let total = listings.iter().flatten().map(|listing| listing.items.len()).sum();
    let mut scan = Scan {
        seen: Vec::with_capacity(total),
        root,
        dot_git,
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
        let start = u32::try_from(scan.names.len()).map_err(|_| SourceError::TooLarge {
            path: worktree.to_owned(),
        })?;
        scan.names.extend_from_slice(&path);
        scan.seen.push(Seen {
            start,
            len: u32::try_from(path.len()).unwrap_or(u32::MAX),
            kind: item.kind,
            stat: item.stat,
        });
        if item.kind == Kind::Directory {
            path.push(b'/');
            open.push((item.listing, 0, path.len()));
        }
    }
    Ok(scan)
}
