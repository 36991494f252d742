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
use super::dotgit;
use super::error::SourceError;
use super::frozen::{Part, Source};
use super::ignores::User;
use super::layer::{self, Held, News, Shape, Work};
use super::manifest::{Header, Kind, Manifest};
use super::notes;
use super::origins::Origins;
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
    /// Take what every `.git` of the worktree holds, too.
    pub include_git: bool,
}

/// Frozen sources, kept under one directory and shared by all runs of one user.
#[derive(Debug)]
pub struct SourceStore {
    root: PathBuf,
    hidden: Vec<PathBuf>,
    global_excludes: Option<PathBuf>,
    home: Option<PathBuf>,
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
            home: None,
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

    /// Leaves this file or directory out where a worktree holds it: hm's own data, for one. The store itself is
    /// always left out.
    #[must_use]
    pub fn hiding(mut self, path: impl Into<PathBuf>) -> Self {
        self.hidden.push(path.into());
        self
    }

    /// Honours this list of ignored files too: git's `core.excludesFile`. None is honoured unless named.
    #[must_use]
    pub fn with_global_excludes(mut self, file: impl Into<PathBuf>) -> Self {
        self.global_excludes = Some(file.into());
        self
    }

    /// Says what `~` stands for where a repository's configuration names a list of ignored files.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
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
        let hidden = self.hidden_in(&worktree);
        let user = User {
            excludes: self.global_excludes.as_deref(),
            home: self.home.as_deref(),
        };
        let freeze = Freeze {
            room: self.room(&worktree, self.takes_ignored.into()),
            worktree: &worktree,
            is_git: false,
        };
        let frozen = freeze.run(|| {
            let request = scan::Request {
                worktree: &worktree,
                hidden: &hidden,
                user,
                takes_ignored: self.takes_ignored,
            };
            Ok((scan::scan(&request)?, Origins::below(&worktree)))
        })?;
        let mut notes = Vec::from_iter(notes::special(&frozen.scan.special));
        notes.extend(notes::torn(&frozen.news.torn));
        let source = Source::of(Part::new(&freeze.room.key, frozen.found));
        notes.extend(notes::pointers(&source));
        let source = source.with_news(frozen.news.brought_in, frozen.changed, notes);
        if !options.include_git {
            return Ok(source);
        }
        let freeze = Freeze {
            room: self.room(&worktree, 2 | u8::from(self.takes_ignored)),
            worktree: &worktree,
            is_git: true,
        };
        let made = freeze.room.made()?;
        let mut notes = Vec::new();
        let frozen = freeze.run(|| {
            let listing = dotgit::list(
                &worktree,
                &frozen.scan.dot_gits,
                &source,
                &made,
                user.home,
                self.takes_ignored,
            )?;
            notes = listing.notes;
            Ok((listing.scan, listing.origins))
        })?;
        let part = Part::new(&freeze.room.key, frozen.found);
        Ok(source.with_git(part, !frozen.changed.is_empty(), notes))
    }

    /// Where one of a worktree's trees is kept.
    fn room(&self, worktree: &Path, kind: u8) -> Room {
        let mut key = blake3::Hasher::new();
        key.update(&[b'v', 2, kind]);
        key.update(worktree.as_os_str().as_bytes());
        let key = key.finalize().to_hex().chars().take(32).collect();
        Room::new(&self.root, key)
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
        let mut parts = id.split('+').map(|id| self.part(id));
        let Some(Some(tree)) = parts.next() else {
            return Ok(None);
        };
        let source = Source::of(tree);
        Ok(match parts.next() {
            Some(git) => git.map(|git| source.with_git(git, false, Vec::new())),
            None => Some(source),
        })
    }

    fn part(&self, id: &str) -> Option<Part> {
        let (key, id) = id.split_once('.')?;
        let id = Uuid::parse_str(id).ok()?;
        if !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let room = Room::new(&self.root, key.to_owned());
        room.find(id).map(|found| Part::new(&room.key, found))
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

/// One freeze of one tree of a worktree: of its files, or of what `.git` holds.
struct Freeze<'a> {
    room: Room,
    worktree: &'a Path,
    is_git: bool,
}

/// What was listed, and where it lies.
struct Listed {
    scan: Scan,
    origins: Origins,
}

/// What came of a freeze.
struct Frozen {
    found: Found,
    scan: Scan,
    news: News,
    changed: Vec<PathBuf>,
}

/// A frozen source, and what is new in it.
type Laid = (Found, News, Vec<PathBuf>);

impl Freeze<'_> {
    fn run(
        &self,
        mut list: impl FnMut() -> Result<(Scan, Origins), SourceError>,
    ) -> Result<Frozen, SourceError> {
        let mut lock: Option<File> = None;
        for attempt in 0..ATTEMPTS {
            let found = self.room.newest();
            let moment = Moment {
                started: now(),
                tolerant: attempt >= PATIENCE,
            };
            let (scan, origins) = list()?;
            let listed = Listed { scan, origins };
            let found = match found {
                Some(found) => {
                    let comparison = compare::compare(&listed.scan, &found.tree);
                    if comparison.is_same() {
                        return Ok(frozen(listed, (found, News::default(), Vec::new())));
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
            let laid = match found {
                Some((found, comparison)) => {
                    let plan = compare::plan(
                        &listed.origins,
                        &listed.scan,
                        &found.tree,
                        &comparison,
                        moment.started,
                        moment.tolerant,
                    )?;
                    match plan {
                        Some(plan) if plan.layers_stand => Some(self.refresh(found, &plan)?),
                        Some(plan) => self.change(found, &listed, plan, moment)?,
                        None => None,
                    }
                }
                None => self.first(&listed, moment)?,
            };
            if let Some(laid) = laid {
                return Ok(frozen(listed, laid));
            }
        }
        Err(SourceError::Changing {
            path: self.worktree.to_owned(),
        })
    }

    /// Nothing changed but what is known of the files: the layers stay.
    fn refresh(&self, found: Found, plan: &Plan<'_>) -> Result<Laid, SourceError> {
        let header = *found.tree.difference.header();
        let difference = layer::difference(&found.tree.base, &plan.wanted, header, self.worktree)?;
        self.room.store(found.id, &difference)?;
        let found = Found {
            tree: Tree {
                base: Arc::clone(&found.tree.base),
                difference: Arc::new(difference),
            },
            ..found
        };
        Ok((found, News::default(), Vec::new()))
    }

    /// The first freeze of a worktree: everything is brought in.
    fn first(&self, listed: &Listed, moment: Moment) -> Result<Option<Laid>, SourceError> {
        let nothing = Tree::default();
        let comparison = compare::compare(&listed.scan, &nothing);
        let plan = compare::plan(
            &listed.origins,
            &listed.scan,
            &nothing,
            &comparison,
            moment.started,
            moment.tolerant,
        )?;
        match plan {
            Some(plan) => self.rebase(&Held::default(), listed, plan, None, moment),
            None => Ok(None),
        }
    }

    /// Something changed: a new delta, or a new base where the delta would be too large.
    fn change(
        &self,
        found: Found,
        listed: &Listed,
        plan: Plan<'_>,
        moment: Moment,
    ) -> Result<Option<Laid>, SourceError> {
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
        let cannot_be_delta = (shape.has_whiteouts() && !layer::MAKES_WHITEOUTS)
            // The worktree's files lie below, and may be there still.
            || (self.is_git && shape.hides_source());
        if is_large || cannot_be_delta {
            return self.rebase(&held, listed, plan, Some(&found), moment);
        }
        self.delta(&held, &shape, listed, plan, found, moment)
    }

    fn delta(
        &self,
        held: &Held,
        shape: &Shape<'_>,
        listed: &Listed,
        mut plan: Plan<'_>,
        found: Found,
        moment: Moment,
    ) -> Result<Option<Laid>, SourceError> {
        let id = Uuid::now_v7();
        let temporary = self.room.temporary_directory()?;
        let tree = temporary.join("tree");
        let work = work(held, &tree, listed, moment, true);
        let Some(news) = work.lay(shape, &mut plan.wanted, &found.tree.base)? else {
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
        let difference = layer::difference(&found.tree.base, &plan.wanted, header, self.worktree)?;
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
        Ok(Some((found, news, plan.changed)))
    }

    fn rebase(
        &self,
        held: &Held,
        listed: &Listed,
        mut plan: Plan<'_>,
        before: Option<&Found>,
        moment: Moment,
    ) -> Result<Option<Laid>, SourceError> {
        let id = Uuid::now_v7();
        let temporary = self.room.temporary_directory()?;
        let tree = temporary.join("tree");
        let shape = Shape::whole(&plan.wanted);
        let work = work(held, &tree, listed, moment, false);
        let Some(news) = work.lay(&shape, &mut plan.wanted, &Manifest::default())? else {
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
        let manifest = layer::base_manifest(&plan.wanted, header, self.worktree)?;
        let file = temporary.join("manifest");
        fs::write(&file, manifest.as_bytes()).map_err(SourceError::io("cannot write", &file))?;
        let difference = layer::difference(&manifest, &plan.wanted, header, self.worktree)?;
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
        Ok(Some((found, news, plan.changed)))
    }
}

fn frozen(listed: Listed, (found, news, changed): Laid) -> Frozen {
    Frozen {
        found,
        scan: listed.scan,
        news,
        changed,
    }
}

fn work<'w>(held: &'w Held, to: &'w Path, listed: &'w Listed, moment: Moment, delta: bool) -> Work<'w> {
    Work {
        origins: &listed.origins,
        held,
        to,
        root: listed.scan.root,
        started: moment.started,
        delta,
        tolerant: moment.tolerant,
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
