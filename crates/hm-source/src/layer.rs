//! Making a layer: a directory tree of sealed files, and of whiteouts where the base has too much.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode};

use super::compare::{Origin, Wanted, is_racy};
use super::copy::{self, Content, Copier};
use super::error::SourceError;
use super::manifest::{Builder, Header, Kind, Manifest, Stat, order};
use super::origins::Origins;
use super::parallel;
use super::tree::is_in_dot_git;

/// The layers that files may be taken from by hard links.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub base: Option<PathBuf>,
    pub delta: Option<PathBuf>,
}

impl Held {
    fn of(&self, in_delta: bool) -> Option<&Path> {
        if in_delta {
            self.delta.as_deref()
        } else {
            self.base.as_deref()
        }
    }
}

/// What a layer is made of: numbers of wanted paths, and the paths to white out.
#[derive(Debug, Default)]
pub(super) struct Shape<'a> {
    directories: Vec<usize>,
    files: Vec<usize>,
    whiteouts: Vec<&'a [u8]>,
}

impl<'a> Shape<'a> {
    /// Everything.
    pub fn whole(wanted: &[Wanted<'_>]) -> Self {
        let mut shape = Self::default();
        for (index, wanted) in wanted.iter().enumerate() {
            match wanted.record.kind {
                Kind::Directory => shape.directories.push(index),
                _ => shape.files.push(index),
            }
        }
        shape
    }

    /// What must lie over `base` for both to give what is wanted.
    pub fn over(base: &'a Manifest, wanted: &[Wanted<'_>]) -> Self {
        let mut shape = Self::default();
        let mut next = 0;
        // Below this path, everything in the base is hidden already.
        let mut hidden: Option<&[u8]> = None;
        let mut needed: Vec<usize> = Vec::new();
        for index in 0..base.len() {
            let path = base.path(index);
            while wanted
                .get(next)
                .is_some_and(|wanted| order(wanted.path, path).is_lt())
            {
                needed.push(next);
                next += 1;
            }
            let record = base.record(index);
            match wanted.get(next).filter(|wanted| wanted.path == path) {
                Some(here) => {
                    let kind = here.record.kind;
                    if record.kind == Kind::Directory && kind != Kind::Directory {
                        hidden = Some(path);
                    }
                    let differs = match kind {
                        Kind::Directory => record.kind != kind || record.stat.mode != here.record.stat.mode,
                        _ => here.origin == Origin::Worktree || here.record.delta,
                    };
                    if differs {
                        needed.push(next);
                    }
                    next += 1;
                }
                None if hidden.is_some_and(|hidden| is_below(path, hidden)) => {}
                None => {
                    shape.whiteouts.push(path);
                    hidden = Some(path);
                }
            }
        }
        needed.extend(next..wanted.len());
        shape.sort(&needed, wanted);
        shape
    }

    /// Parts what is needed into files and directories, parents of everything included.
    fn sort(&mut self, needed: &[usize], wanted: &[Wanted<'_>]) {
        let mut present: HashSet<&[u8]> = HashSet::new();
        let mut parents = Vec::new();
        for index in needed {
            let Some(here) = wanted.get(*index) else { continue };
            match here.record.kind {
                Kind::Directory => {
                    if present.insert(here.path) {
                        self.directories.push(*index);
                    }
                }
                _ => self.files.push(*index),
            }
            parents.push(here.path);
        }
        parents.extend(self.whiteouts.iter().copied());
        for path in parents {
            let mut path = path;
            while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
                path = &path[..slash];
                let Ok(index) = wanted.binary_search_by(|wanted| order(wanted.path, path)) else {
                    break;
                };
                let Some(here) = wanted.get(index) else { break };
                if !present.insert(here.path) {
                    break;
                }
                self.directories.push(index);
            }
        }
        // By number is by path: parents come first.
        self.directories.sort_unstable();
    }

    /// How many files and whiteouts it holds, and how many bytes.
    pub fn weight(&self, wanted: &[Wanted<'_>]) -> (u64, u64) {
        let bytes = self
            .files
            .iter()
            .filter_map(|index| wanted.get(*index))
            .map(|wanted| wanted.record.stat.size);
        ((self.files.len() + self.whiteouts.len()) as u64, bytes.sum())
    }

    pub fn has_whiteouts(&self) -> bool {
        !self.whiteouts.is_empty()
    }

    /// Whether a whiteout hides anything outside every `.git`: what the source itself has at that path.
    pub fn hides_source(&self) -> bool {
        self.whiteouts.iter().any(|path| !is_in_dot_git(path))
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn join(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

/// Where a layer comes from and goes to.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub origins: &'a Origins,
    pub held: &'a Held,
    /// The directory to make.
    pub to: &'a Path,
    /// The worktree's own mode and time.
    pub root: Stat,
    /// When the listing began.
    pub started: i64,
    /// It is a delta.
    pub delta: bool,
    /// What goes away while it is copied is left out, rather than ending the work.
    pub tolerant: bool,
}

impl Work<'_> {
    /// Makes the layer and returns what was brought in from the worktree; `None` when a file is
    /// gone. When that is tolerated, its record says [`Kind::Removed`].
    pub fn lay(
        &self,
        shape: &Shape<'_>,
        wanted: &mut [Wanted<'_>],
        base: &Manifest,
    ) -> Result<Option<News>, SourceError> {
        fs::create_dir(self.to).map_err(SourceError::io("cannot create", self.to))?;
        for wanted in shape.directories.iter().filter_map(|index| wanted.get(*index)) {
            let to = join(self.to, wanted.path);
            fs::create_dir(&to).map_err(SourceError::io("cannot create", &to))?;
        }
        for path in &shape.whiteouts {
            let to = join(self.to, path);
            whiteout(&to).map_err(SourceError::io("cannot mark as removed", &to))?;
        }
        let mut torn = Vec::new();
        let brought_in = AtomicU64::new(0);
        let shares_blocks = AtomicBool::new(true);
        let laid = parallel::each(
            shape.files.len(),
            || Copier::new(&shares_blocks),
            |copier, number| match shape.files.get(number).and_then(|index| wanted.get(*index)) {
                Some(wanted) => self.lay_file(wanted, copier, &brought_in),
                None => Ok(Laid::Gone),
            },
        )?;
        for (index, laid) in shape.files.iter().zip(laid) {
            let Some(wanted) = wanted.get_mut(*index) else {
                continue;
            };
            match laid {
                Laid::Gone if !self.tolerant => return Ok(None),
                Laid::Gone => {
                    wanted.record.kind = Kind::Removed;
                    if self.delta && base.search(wanted.path).is_ok() {
                        let to = join(self.to, wanted.path);
                        whiteout(&to).map_err(SourceError::io("cannot mark as removed", &to))?;
                    }
                    continue;
                }
                Laid::Linked => {}
                Laid::Copied(content) => {
                    wanted.record.stat = content.stat;
                    wanted.record.digest = content.digest;
                    // What was not read in one piece is read again the next time.
                    wanted.record.racy = content.is_torn || is_racy(content.stat.ctime, self.started);
                    if content.is_torn {
                        torn.push(PathBuf::from(OsStr::from_bytes(wanted.path)));
                    }
                    wanted.target = content.target;
                }
            }
            wanted.record.delta = self.delta;
        }
        for wanted in shape
            .directories
            .iter()
            .rev()
            .filter_map(|index| wanted.get(*index))
        {
            finish_directory(&join(self.to, wanted.path), &wanted.record.stat)?;
        }
        finish_directory(self.to, &self.root)?;
        Ok(Some(News {
            brought_in: brought_in.into_inner(),
            torn,
        }))
    }

    fn lay_file(
        &self,
        wanted: &Wanted<'_>,
        copier: &mut Copier<'_>,
        brought_in: &AtomicU64,
    ) -> Result<Laid, SourceError> {
        let to = join(self.to, wanted.path);
        let held = self
            .held
            .of(wanted.record.delta)
            .filter(|_| wanted.origin == Origin::Held);
        if let Some(held) = held {
            let from = join(held, wanted.path);
            // Too many links, or somebody tampered with the layer: the worktree still has it.
            if rustix::fs::linkat(CWD, &from, CWD, &to, AtFlags::empty()).is_ok() {
                return Ok(Laid::Linked);
            }
        }
        let from = self.origins.of(wanted.path);
        let content = match wanted.record.kind {
            Kind::Symlink => copy::link(&from, Some(&to))?,
            _ => copier.file(&from, Some(&to))?,
        };
        let Some(content) = content else {
            return Ok(Laid::Gone);
        };
        brought_in.fetch_add(1, Ordering::Relaxed);
        Ok(Laid::Copied(content))
    }
}

/// What laying a layer brought.
#[derive(Debug, Default)]
pub(super) struct News {
    /// How many files were brought in.
    pub brought_in: u64,
    /// The files that changed all the while they were read.
    pub torn: Vec<PathBuf>,
}

enum Laid {
    Gone,
    Linked,
    Copied(Content),
}

/// Gives a directory its mode and time. Its owner may always enter and change it, or it could not be
/// removed again.
fn finish_directory(path: &Path, stat: &Stat) -> Result<(), SourceError> {
    rustix::fs::chmod(path, Mode::from_raw_mode((stat.mode | 0o700) as _))
        .map_err(SourceError::io("cannot set the mode of", path))?;
    rustix::fs::utimensat(CWD, path, &copy::times(stat.mtime), AtFlags::empty())
        .map_err(SourceError::io("cannot set the times of", path))
}

/// Whether a layer can say that a file of the one below is gone.
pub(super) const MAKES_WHITEOUTS: bool = cfg!(all(target_os = "linux", not(hm_elsewhere)));

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
fn whiteout(path: &Path) -> std::io::Result<()> {
    // The one device node that anybody may make.
    let made = rustix::fs::mknodat(CWD, path, rustix::fs::FileType::CharacterDevice, Mode::empty(), 0);
    made.map_err(Into::into)
}

#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
fn whiteout(_: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The manifest of a base that holds all that is wanted.
pub(super) fn base_manifest(
    wanted: &[Wanted<'_>],
    header: Header,
    worktree: &Path,
) -> Result<Manifest, SourceError> {
    let mut builder = Builder::default();
    for wanted in wanted {
        builder.push(wanted.path, &wanted.target, &wanted.record);
    }
    builder.finish(header, worktree)
}

/// The manifest of what differs from `base`.
pub(super) fn difference(
    base: &Manifest,
    wanted: &[Wanted<'_>],
    header: Header,
    worktree: &Path,
) -> Result<Manifest, SourceError> {
    let mut builder = Builder::default();
    let mut next = 0;
    let push = |builder: &mut Builder, wanted: &Wanted<'_>| {
        builder.push(wanted.path, &wanted.target, &wanted.record);
    };
    for index in 0..base.len() {
        let path = base.path(index);
        while let Some(before) = wanted.get(next).filter(|wanted| order(wanted.path, path).is_lt()) {
            push(&mut builder, before);
            next += 1;
        }
        let mut record = base.record(index);
        match wanted.get(next).filter(|wanted| wanted.path == path) {
            Some(here) => {
                if here.record != record {
                    push(&mut builder, here);
                }
                next += 1;
            }
            None => {
                record.kind = Kind::Removed;
                builder.push(path, b"", &record);
            }
        }
    }
    for wanted in wanted.iter().skip(next) {
        push(&mut builder, wanted);
    }
    builder.finish(header, worktree)
}
