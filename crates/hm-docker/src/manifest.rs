//! A source as a list of its paths, kept for as long as an image holds it, and how two of them differ.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::state::{self, State};
use hm_source::{Entry, EntryKind, Source};
use hm_vm::{Result, VmError};

/// A second in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// One path of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    path: Vec<u8>,
    pub entry: Entry,
    /// Nanoseconds since 1970.
    pub modified: i64,
}

/// All paths of a source, each directory right before what is in it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Manifest(pub Vec<Item>);

/// The modification time, in seconds, that something of this one is laid with. An engine keeps whole seconds of what it
/// commits and cuts off the rest: a file that was changed in the second in which something was built from it would seem to
/// be no newer, so it gets the next second.
pub(super) fn laid_seconds(modified: i64) -> i64 {
    let (whole, rest) = (modified.div_euclid(SECOND), modified.rem_euclid(SECOND));
    (whole + i64::from(rest != 0)).max(0)
}

impl Item {
    #[cfg(test)]
    pub(super) fn new(path: &[u8], entry: Entry, modified: i64) -> Self {
        Self {
            path: path.to_vec(),
            entry,
            modified,
        }
    }

    /// The modification time that it is laid with.
    pub(super) fn laid_seconds(&self) -> i64 {
        laid_seconds(self.modified)
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.path
    }

    /// The last part of its path.
    pub(super) fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.entry.kind, EntryKind::Directory)
    }

    pub(super) fn size(&self) -> u64 {
        match self.entry.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Whether laying one over the other changes nothing. A directory's time moves with what is no source.
    fn is_like(&self, other: &Self) -> bool {
        self.entry == other.entry && (self.is_directory() || self.modified == other.modified)
    }
}

impl Manifest {
    pub(super) fn of(source: &Source) -> Self {
        let items = source.entries_with_times().map(|(path, entry, modified)| Item {
            path: path.as_os_str().as_bytes().to_vec(),
            entry,
            modified,
        });
        Self(items.collect())
    }

    fn packed(&self) -> Result<(String, Vec<u8>)> {
        let bytes = postcard::to_allocvec(self)
            .map_err(|error| VmError::Other(format!("cannot describe the source: {error}")))?;
        Ok((blake3::hash(&bytes).to_hex()[..32].to_owned(), bytes))
    }

    /// Its name.
    pub(super) fn digest(&self) -> Result<String> {
        Ok(self.packed()?.0)
    }

    /// The same with what `before` has at paths that are `hidden`, for nothing was laid there.
    pub(super) fn except(&self, before: &Self, hidden: impl Fn(&Path) -> bool) -> Self {
        let laid = self.0.iter().filter(|item| !hidden(item.path()));
        let kept = before.0.iter().filter(|item| hidden(item.path()));
        let mut items: Vec<_> = laid.chain(kept).cloned().collect();
        items.sort_by(|left, right| left.path().cmp(right.path()));
        Self(items)
    }

    /// Keeps it, and returns its name.
    pub(super) fn store(&self, state: &State) -> Result<String> {
        let (digest, bytes) = self.packed()?;
        let path = state.manifest(&digest);
        if !path.exists() {
            state.write(&path, &bytes)?;
        }
        Ok(digest)
    }

    /// Reads one that was kept. The empty one needs no file.
    pub(super) fn load(state: &State, digest: Option<&str>) -> Result<Self> {
        let Some(digest) = digest else {
            return Ok(Self::default());
        };
        let path = state.manifest(digest);
        let damaged = || VmError::Corrupt {
            path: path.clone(),
            reason: "it does not say which source an image holds; run with --no-cache".into(),
        };
        let bytes = state::read(&path)?.ok_or_else(damaged)?;
        postcard::from_bytes(&bytes).map_err(|_| damaged())
    }

    /// What must be laid and what removed to come from this source to another.
    pub(super) fn difference<'a>(&'a self, to: &'a Self) -> Difference<'a> {
        self.compare(to, Item::is_like)
    }

    /// The same for content alone: a checkout gives files new times that it leaves as they were.
    pub(super) fn difference_of_content<'a>(&'a self, to: &'a Self) -> Difference<'a> {
        self.compare(to, |old, new| old.entry == new.entry)
    }

    fn compare<'a>(&'a self, to: &'a Self, is_like: impl Fn(&Item, &Item) -> bool) -> Difference<'a> {
        let mut difference = Difference::default();
        let before: std::collections::HashMap<&[u8], &Item> =
            self.0.iter().map(|item| (item.bytes(), item)).collect();
        let mut kept = std::collections::HashSet::with_capacity(to.0.len());
        for item in &to.0 {
            kept.insert(item.bytes());
            if !before.get(item.bytes()).is_some_and(|old| is_like(old, item)) {
                difference.laid.push(item);
            }
        }
        difference.removed = self
            .0
            .iter()
            .filter(|item| !kept.contains(item.bytes()))
            .collect();
        // What is in a directory goes before it.
        difference.removed.reverse();
        difference
    }
}

/// How two sources differ.
#[derive(Debug, Default)]
pub(super) struct Difference<'a> {
    pub laid: Vec<&'a Item>,
    pub removed: Vec<&'a Item>,
}

impl Difference<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.laid.is_empty() && self.removed.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.laid.len() + self.removed.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.laid.iter().map(|item| item.size()).sum()
    }

    /// Leaves out the paths that something else hides.
    pub(super) fn without(&mut self, is_hidden: impl Fn(&Path) -> bool) {
        self.laid.retain(|item| !is_hidden(item.path()));
        self.removed.retain(|item| !is_hidden(item.path()));
    }
}
