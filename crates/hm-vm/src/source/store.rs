//! Freezing worktrees, and the store that the frozen ones are kept in.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::compare::{self, Plan, Wanted};
use super::error::SourceError;
use super::frozen::Source;
use super::layer::{self, Held, Shape, Work};
use super::manifest::{Header, Kind, Manifest};
use super::room::{Found, Room, names};
use super::scan::{self, Scan};
use super::tree::{Tree, bytes_of};

/// How often a freeze begins anew because files went away while they were read.
const ATTEMPTS: usize = 20;
/// From then on, what goes away meanwhile is taken as removed.
const PATIENCE: usize = 4;
/// A delta of no more files or bytes than these is never too large.
const SMALL: (u64, u64) = (256, 16 << 20);
/// A delta of more files than this costs more than it saves.
const MANY: u64 = 4096;

/// What to take from a worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// Take `.git` too.
    pub include_git: bool,
}

/// Frozen sources, kept under one directory and shared by all runs of one user.
#[derive(Debug)]
pub struct SourceStore {
    root: PathBuf,
    hidden: Vec<PathBuf>,
    global_excludes: Option<PathBuf>,
    takes_ignored: bool,
}

impl SourceStore {
    /// A store under `root`, which is created when first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            hidden: vec![root.clone()],
            root,
            global_excludes: None,
            takes_ignored: false,
        }
    }

    /// Takes what git would ignore too: for a worktree that was a frozen source before, from which nothing is to be
    /// left out a second time.
    #[must_use]
    pub const fn taking_ignored(mut self) -> Self {
        self.takes_ignored = true;
        self
    }

    /// Leaves this directory out where a worktree holds it: hm's own data, for one. The store itself is
    /// always left out.
    #[must_use]
    pub fn hiding(mut self, directory: impl Into<PathBuf>) -> Self {
        self.hidden.push(directory.into());
        self
    }

    /// Honours this list of ignored files too: git's `core.excludesFile`. None is honoured unless named.
    #[must_use]
    pub fn with_global_excludes(mut self, file: impl Into<PathBuf>) -> Self {
        self.global_excludes = Some(file.into());
        self
    }

    /// Where the store lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Freezes the worktree as it stands. Blocks; writes nothing into the worktree.
    ///
    /// # Errors
    /// When something in the worktree cannot be read, keeps changing, or cannot be stored.
    pub fn freeze(&self, worktree: &Path, options: &SourceOptions) -> Result<Source, SourceError> {
        let worktree = fs::canonicalize(worktree).map_err(SourceError::unreadable(worktree))?;
        if !worktree.is_dir() {
            return Err(SourceError::NotADirectory { path: worktree });
        }
        let mut key = blake3::Hasher::new();
        key.update(&[u8::from(options.include_git) | u8::from(self.takes_ignored) << 1]);
        key.update(worktree.as_os_str().as_bytes());
        let key = key.finalize().to_hex().chars().take(32).collect();
        let freeze = Freeze {
            room: Room::new(&self.root, key),
            hidden: self.hidden_in(&worktree),
            worktree,
            include_git: options.include_git,
            global_excludes: self.global_excludes.as_deref(),
            takes_ignored: self.takes_ignored,
        };
        freeze.run()
    }

    fn hidden_in(&self, worktree: &Path) -> Vec<Vec<u8>> {
        let real = self.hidden.iter().filter_map(|path| fs::canonicalize(path).ok());
        real.filter_map(|path| Some(bytes_of(path.strip_prefix(worktree).ok()?)))
            .collect()
    }

    /// Opens a source that was frozen before, by [`Source::id`]; `None` when it has been removed since.
    ///
    /// # Errors
    /// None at present; the store may have to be read from elsewhere one day.
    pub fn reopen(&self, id: &str) -> Result<Option<Source>, SourceError> {
        let Some((key, id)) = id.split_once('.') else {
            return Ok(None);
        };
        let (true, Ok(id)) = (
            key.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Uuid::parse_str(id),
        ) else {
            return Ok(None);
        };
        let room = Room::new(&self.root, key.to_owned());
        Ok(room
            .find(id)
            .map(|found| Source::from_found(&room.key, found, None, None)))
    }

    fn rooms(&self) -> Vec<Room> {
        let keys = names(&self.root.join("trees"));
        keys.into_iter().map(|key| Room::new(&self.root, key)).collect()
    }

    /// Removes what killed processes left half made, layers that nothing refers to any more, and the
    /// sources of worktrees that are gone. Skips a worktree that is being frozen.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn reclaim(&self) -> Result<(), SourceError> {
        for room in self.rooms() {
            let Some(_lock) = room.try_lock()? else { continue };
            room.clear_temporary()?;
            let is_there = room
                .origin()
                .is_some_and(|path| Path::new(OsStr::from_bytes(&path)).exists());
            if is_there {
                room.prune_old()?;
            } else {
                room.prune(0)?;
                room.remove_if_empty()?;
            }
        }
        Ok(())
    }

    /// Removes every frozen source that no living process uses, and returns how many bytes of real blocks
    /// that freed. A worktree's newest source stays while one of its layers is in use.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn remove_unused(&self) -> Result<u64, SourceError> {
        let before = self.usage();
        for room in self.rooms() {
            let Some(_lock) = room.try_lock()? else { continue };
            room.clear_temporary()?;
            room.prune(usize::from(room.is_used()))?;
            room.remove_if_empty()?;
        }
        Ok(before.saturating_sub(self.usage()))
    }

    /// How many bytes of real blocks the store takes up, each block counted once.
    #[must_use]
    pub fn usage(&self) -> u64 {
        let mut linked = HashSet::new();
        let mut bytes = 0;
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            // What another process removes meanwhile takes up nothing.
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                    continue;
                }
                bytes += metadata.blocks() * 512;
            }
        }
        bytes
    }
}

/// One attempt at a freeze.
#[derive(Clone, Copy)]
struct Moment {
    /// When the listing began.
    started: i64,
    /// What goes away meanwhile is taken as removed.
    tolerant: bool,
}

/// One freeze of one worktree.
struct Freeze<'a> {
    room: Room,
    worktree: PathBuf,
    include_git: bool,
    hidden: Vec<Vec<u8>>,
    global_excludes: Option<&'a Path>,
    takes_ignored: bool,
}

impl Freeze<'_> {
    fn run(&self) -> Result<Source, SourceError> {
        let mut lock: Option<File> = None;
        for attempt in 0..ATTEMPTS {
            let found = self.room.newest();
            let moment = Moment {
                started: now(),
                tolerant: attempt >= PATIENCE,
            };
            let scan = scan::scan(&scan::Request {
                worktree: &self.worktree,
                include_git: self.include_git,
                hidden: &self.hidden,
                global_excludes: self.global_excludes,
                takes_ignored: self.takes_ignored,
            })?;
            let found = match found {
                Some(found) => {
                    let comparison = compare::compare(&scan, &found.tree);
                    if comparison.is_same() {
                        return Ok(self.source(found, &scan, None));
                    }
                    Some((found, comparison))
                }
                None => None,
            };
            if lock.is_none() {
                lock = self.room.try_lock()?;
                let waited = lock.is_none();
                if waited {
                    lock = Some(self.room.lock()?);
                }
                // Locked, so that nobody removes them under us.
                self.room.create(self.worktree.as_os_str().as_bytes())?;
                if waited || self.room.current() != found.as_ref().map(|(found, _)| found.id) {
                    continue;
                }
            }
            self.room.clear_temporary()?;
            let frozen = match found {
                Some((found, comparison)) => {
                    let plan = compare::plan(
                        &self.worktree,
                        &scan,
                        &found.tree,
                        &comparison,
                        moment.started,
                        moment.tolerant,
                    )?;
                    match plan {
                        Some(plan) if plan.layers_stand => Some(self.refresh(found, &scan, &plan)?),
                        Some(plan) => self.change(found, &scan, plan, moment)?,
                        None => None,
                    }
                }
                None => self.first(&scan, moment)?,
            };
            if let Some(frozen) = frozen {
                return Ok(frozen);
            }
        }
        Err(SourceError::Changing {
            path: self.worktree.clone(),
        })
    }

    fn source(&self, found: Found, scan: &Scan, news: Option<(u64, Vec<PathBuf>)>) -> Source {
        let note = scan
            .dot_git
            .filter(|kind| self.include_git && *kind != Kind::Directory);
        let note = note.map(|_| self.worktree.join(".git"));
        Source::from_found(&self.room.key, found, news, Some((scan.dot_git.is_some(), note)))
    }

    /// Nothing changed but what is known of the files: the layers stay.
    fn refresh(&self, found: Found, scan: &Scan, plan: &Plan<'_>) -> Result<Source, SourceError> {
        let header = *found.tree.difference.header();
        let difference = layer::difference(&found.tree.base, &plan.wanted, header, &self.worktree)?;
        self.room.store(found.id, &difference)?;
        let found = Found {
            tree: Tree {
                base: Arc::clone(&found.tree.base),
                difference: Arc::new(difference),
            },
            ..found
        };
        Ok(self.source(found, scan, None))
    }

    /// The first freeze of a worktree: everything is brought in.
    fn first(&self, scan: &Scan, moment: Moment) -> Result<Option<Source>, SourceError> {
        let nothing = Tree::default();
        let comparison = compare::compare(scan, &nothing);
        let plan = compare::plan(
            &self.worktree,
            scan,
            &nothing,
            &comparison,
            moment.started,
            moment.tolerant,
        )?;
        match plan {
            Some(plan) => self.rebase(&Held::default(), scan, plan, None, moment),
            None => Ok(None),
        }
    }

    /// Something changed: a new delta, or a new base where the delta would be too large.
    fn change(
        &self,
        found: Found,
        scan: &Scan,
        plan: Plan<'_>,
        moment: Moment,
    ) -> Result<Option<Source>, SourceError> {
        let held = Held {
            base: Some(found.base.join("tree")),
            delta: found.delta.as_ref().map(|delta| delta.join("tree")),
        };
        let base = Arc::clone(&found.tree.base);
        let shape = Shape::over(&base, &plan.wanted);
        let (files, bytes) = shape.weight(&plan.wanted);
        let whole = base.header();
        let is_large = files > MANY
            || (files > SMALL.0 && files > whole.files / 4)
            || (bytes > SMALL.1 && bytes > whole.bytes / 4);
        if is_large || (shape.has_whiteouts() && !layer::MAKES_WHITEOUTS) {
            return self.rebase(&held, scan, plan, Some(&found), moment);
        }
        self.delta(&held, &shape, scan, plan, found, moment)
    }

    fn delta(
        &self,
        held: &Held,
        shape: &Shape<'_>,
        scan: &Scan,
        mut plan: Plan<'_>,
        found: Found,
        moment: Moment,
    ) -> Result<Option<Source>, SourceError> {
        let id = Uuid::now_v7();
        let temporary = self.room.temporary_directory()?;
        let tree = temporary.join("tree");
        let work = self.work(held, &tree, scan, moment, true);
        let Some(brought_in) = work.lay(shape, &mut plan.wanted, &found.tree.base)? else {
            return Ok(None);
        };
        plan.settle(&found.tree);
        plan.wanted.retain(|wanted| wanted.record.kind != Kind::Removed);
        let place = self.room.delta(id);
        let lease = self.room.publish(&temporary, &place)?;
        let header = Header {
            base: found.tree.base.header().base,
            delta: Some(id),
            ..totals(&plan.wanted)
        };
        let difference = layer::difference(&found.tree.base, &plan.wanted, header, &self.worktree)?;
        self.room.store(id, &difference)?;
        self.room.prune_old()?;
        let mut leases = found.leases;
        leases.truncate(1);
        leases.push(lease);
        let found = Found {
            id,
            tree: Tree {
                base: found.tree.base,
                difference: Arc::new(difference),
            },
            base: found.base,
            delta: Some(place),
            leases,
        };
        Ok(Some(self.source(found, scan, Some((brought_in, plan.changed)))))
    }

    fn rebase(
        &self,
        held: &Held,
        scan: &Scan,
        mut plan: Plan<'_>,
        before: Option<&Found>,
        moment: Moment,
    ) -> Result<Option<Source>, SourceError> {
        let id = Uuid::now_v7();
        let temporary = self.room.temporary_directory()?;
        let tree = temporary.join("tree");
        let shape = Shape::whole(&plan.wanted);
        let work = self.work(held, &tree, scan, moment, false);
        let Some(brought_in) = work.lay(&shape, &mut plan.wanted, &Manifest::default())? else {
            return Ok(None);
        };
        match before {
            Some(before) => plan.settle(&before.tree),
            None => plan.changed.clear(),
        }
        plan.wanted.retain(|wanted| wanted.record.kind != Kind::Removed);
        let header = Header {
            base: id,
            delta: None,
            ..totals(&plan.wanted)
        };
        let manifest = layer::base_manifest(&plan.wanted, header, &self.worktree)?;
        let file = temporary.join("manifest");
        fs::write(&file, manifest.as_bytes()).map_err(SourceError::io("cannot write", &file))?;
        let difference = layer::difference(&manifest, &plan.wanted, header, &self.worktree)?;
        let place = self.room.base(id);
        let lease = self.room.publish(&temporary, &place)?;
        self.room.store(id, &difference)?;
        self.room.prune_old()?;
        let found = Found {
            id,
            tree: Tree {
                base: Arc::new(manifest),
                difference: Arc::new(difference),
            },
            base: place,
            delta: None,
            leases: vec![lease],
        };
        Ok(Some(self.source(found, scan, Some((brought_in, plan.changed)))))
    }

    fn work<'w>(
        &'w self,
        held: &'w Held,
        to: &'w Path,
        scan: &Scan,
        moment: Moment,
        delta: bool,
    ) -> Work<'w> {
        Work {
            worktree: &self.worktree,
            held,
            to,
            root: scan.root,
            started: moment.started,
            delta,
            tolerant: moment.tolerant,
        }
    }
}

fn totals(wanted: &[Wanted<'_>]) -> Header {
    let files = wanted
        .iter()
        .filter(|wanted| wanted.record.kind != Kind::Directory);
    Header {
        files: files.clone().count() as u64,
        bytes: files.map(|wanted| wanted.record.stat.size).sum(),
        ..Header::default()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
