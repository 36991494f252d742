//! What differs between a listing of the worktree and the source that was frozen last.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::copy::{self, Copier};
use super::error::SourceError;
use super::manifest::{Kind, Record, order};
use super::origins::Origins;
use super::parallel;
use super::scan::{Scan, Seen};
use super::tree::{At, Tree};

/// How many changed paths are told.
const TOLD: usize = 1000;
/// Two changes within one tick of the kernel's clock bear the same time.
const TICK: i64 = 20_000_000;

/// What is known of each listed path.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// For each listed path, its record of the last freeze.
    pub previous: Vec<Option<At>>,
    /// The listed paths that may have changed.
    pub suspects: Vec<usize>,
    /// What is not listed any more.
    pub removed: Vec<At>,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.suspects.is_empty() && self.removed.is_empty()
    }
}

fn unchanged(seen: &Seen, record: &Record) -> bool {
    seen.kind == record.kind
        && match seen.kind {
            // A directory's times move with ignored files too: they are no change by themselves.
            Kind::Directory => seen.stat.mode == record.stat.mode,
            _ => !record.racy && seen.stat == record.stat,
        }
}

/// Compares by what the file system says alone; reads no file.
pub(super) fn compare(scan: &Scan, tree: &Tree) -> Comparison {
    let mut comparison = Comparison {
        previous: vec![None; scan.seen.len()],
        ..Comparison::default()
    };
    let mut before = tree.iter().peekable();
    for (index, seen) in scan.seen.iter().enumerate() {
        let path = scan.path(seen);
        let mut same = false;
        while let Some(at) = before.peek().copied() {
            match order(tree.path(at), path) {
                Ordering::Less => comparison.removed.push(at),
                Ordering::Equal => {
                    if let Some(previous) = comparison.previous.get_mut(index) {
                        *previous = Some(at);
                    }
                    same = unchanged(seen, &tree.record(at));
                }
                Ordering::Greater => break,
            }
            before.next();
        }
        if !same {
            comparison.suspects.push(index);
        }
    }
    comparison.removed.extend(before);
    comparison
}

/// Where a path's content is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It lies in a layer already.
    Held,
    /// It must be brought in.
    Worktree,
}

/// One path of the source that is being frozen.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub path: &'a [u8],
    pub target: Vec<u8>,
    pub record: Record,
    pub origin: Origin,
}

/// The source that is being frozen, and how it differs from the last one.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub wanted: Vec<Wanted<'a>>,
    /// The layers need no change: at most what is known of the files does.
    pub layers_stand: bool,
    /// What differs in kind, content or executable bit.
    pub changed: Vec<PathBuf>,
}

pub(super) fn is_racy(ctime: i64, started: i64) -> bool {
    ctime >= started - TICK
}

fn same_content(a: &Record, b: &Record) -> bool {
    a.kind == b.kind
        && a.digest == b.digest
        && (a.kind != Kind::File || (a.stat.mode ^ b.stat.mode) & 0o100 == 0)
}

/// Reads what may have changed and says what must be brought in. Of what went away meanwhile, either nothing
/// is taken (`tolerant`) or nothing is said at all: `None`.
pub(super) fn plan<'a>(
    origins: &Origins,
    scan: &'a Scan,
    tree: &Tree,
    comparison: &Comparison,
    started: i64,
    tolerant: bool,
) -> Result<Option<Plan<'a>>, SourceError> {
    let never = AtomicBool::new(false);
    let looked = parallel::each(
        comparison.suspects.len(),
        || Copier::new(&never),
        |copier, number| {
            let index = comparison.suspects.get(number).copied().unwrap_or_default();
            let previous = comparison.previous.get(index).copied().flatten();
            match scan.seen.get(index) {
                Some(seen) => look(origins, scan.path(seen), seen, tree, previous, started, copier),
                None => Ok(None),
            }
        },
    )?;
    let mut plan = Plan {
        wanted: Vec::with_capacity(scan.seen.len()),
        layers_stand: comparison.removed.is_empty(),
        changed: Vec::new(),
    };
    for at in comparison.removed.iter().take(TOLD) {
        plan.changed
            .push(PathBuf::from(OsStr::from_bytes(tree.path(*at))));
    }
    let mut suspects = comparison.suspects.iter().copied().zip(looked).peekable();
    for (index, seen) in scan.seen.iter().enumerate() {
        let path = scan.path(seen);
        let previous = comparison.previous.get(index).copied().flatten();
        if suspects.peek().is_none_or(|(suspect, _)| *suspect != index) {
            let Some(at) = previous else { continue };
            let mut record = tree.record(at);
            if seen.kind == Kind::Directory {
                record.stat = seen.stat;
            }
            plan.wanted.push(Wanted {
                path,
                target: tree.target(at).to_vec(),
                record,
                origin: Origin::Held,
            });
            continue;
        }
        let Some((record, target, origin)) = suspects.next().and_then(|(_, looked)| looked) else {
            if !tolerant {
                return Ok(None);
            }
            plan.layers_stand = false;
            plan.tell(path);
            continue;
        };
        let before = previous.map(|at| tree.record(at));
        let stands = origin == Origin::Held
            && before.is_some_and(|before| {
                before.delta == record.delta
                    && before.kind == record.kind
                    && before.stat.mode == record.stat.mode
            });
        plan.layers_stand &= stands;
        // What is to be brought in has no digest yet: `settle` looks at it again.
        if !stands && origin == Origin::Held && !before.is_some_and(|before| same_content(&before, &record)) {
            plan.tell(path);
        }
        plan.wanted.push(Wanted {
            path,
            target,
            record,
            origin,
        });
    }
    Ok(Some(plan))
}

impl Plan<'_> {
    fn tell(&mut self, path: &[u8]) {
        if self.changed.len() < TOLD {
            self.changed.push(PathBuf::from(OsStr::from_bytes(path)));
        }
    }

    /// Notes which of the files that were brought in differ from what was there before.
    pub fn settle(&mut self, before: &Tree) {
        let mut told = std::mem::take(&mut self.changed);
        for wanted in self
            .wanted
            .iter()
            .filter(|wanted| wanted.origin == Origin::Worktree)
        {
            let was = before.find(wanted.path).map(|at| before.record(at));
            if !was.is_some_and(|was| same_content(&was, &wanted.record)) {
                told.push(PathBuf::from(OsStr::from_bytes(wanted.path)));
            }
        }
        told.sort();
        told.dedup();
        told.truncate(TOLD);
        self.changed = told;
    }
}

type Looked = Option<(Record, Vec<u8>, Origin)>;

/// Looks at one path that may have changed.
fn look(
    origins: &Origins,
    path: &[u8],
    seen: &Seen,
    tree: &Tree,
    previous: Option<At>,
    started: i64,
    copier: &mut Copier<'_>,
) -> Result<Looked, SourceError> {
    let mut record = Record {
        kind: seen.kind,
        delta: false,
        racy: is_racy(seen.stat.ctime, started),
        stat: seen.stat,
        digest: [0; 32],
    };
    if seen.kind == Kind::Directory {
        record.racy = false;
        return Ok(Some((record, Vec::new(), Origin::Held)));
    }
    // The base may hold what the delta hides: a file that was put back as it was.
    let base = tree.base.search(path).ok().map(|index| tree.base.record(index));
    let held = [previous.map(|at| tree.record(at)), base];
    let alike = |held: &Record| {
        held.kind == seen.kind
            && held.stat.size == seen.stat.size
            && held.stat.mtime == seen.stat.mtime
            && held.stat.mode == seen.stat.mode
    };
    if !held.iter().flatten().any(alike) {
        return Ok(Some((record, Vec::new(), Origin::Worktree)));
    }
    let from = origins.of(path);
    let content = match seen.kind {
        Kind::Symlink => copy::link(&from, None)?,
        _ => copier.file(&from, None)?,
    };
    let Some(content) = content else { return Ok(None) };
    if content.stat != seen.stat || content.is_torn {
        // It changed since the listing: bring in what is there now.
        return Ok(Some((record, Vec::new(), Origin::Worktree)));
    }
    record.digest = content.digest;
    match held
        .iter()
        .flatten()
        .find(|held| alike(held) && held.digest == content.digest)
    {
        Some(held) => {
            record.delta = held.delta;
            Ok(Some((record, content.target, Origin::Held)))
        }
        None => Ok(Some((record, Vec::new(), Origin::Worktree))),
    }
}
