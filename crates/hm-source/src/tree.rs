//! A whole source: the base's records with a difference above them.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{Entry, EntryKind};
use super::manifest::{Kind, Manifest, Record, order};

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    in_difference: bool,
    index: u32,
}

/// A base and what differs from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub base: Arc<Manifest>,
    pub difference: Arc<Manifest>,
}

impl Tree {
    fn list(&self, at: At) -> (&Manifest, usize) {
        let list = if at.in_difference {
            &self.difference
        } else {
            &self.base
        };
        (list, at.index as usize)
    }

    pub fn path(&self, at: At) -> &[u8] {
        let (list, index) = self.list(at);
        list.path(index)
    }

    pub fn target(&self, at: At) -> &[u8] {
        let (list, index) = self.list(at);
        list.target(index)
    }

    pub fn record(&self, at: At) -> Record {
        let (list, index) = self.list(at);
        list.record(index)
    }

    pub fn entry(&self, at: At) -> Entry {
        let record = self.record(at);
        let kind = match record.kind {
            Kind::File => EntryKind::File {
                digest: record.digest,
                size: record.stat.size,
            },
            Kind::Symlink => EntryKind::Symlink {
                target: PathBuf::from(OsStr::from_bytes(self.target(at))),
            },
            Kind::Directory | Kind::Removed => EntryKind::Directory,
        };
        Entry {
            kind,
            mode: record.stat.mode,
        }
    }

    /// The record of one path.
    pub fn find(&self, path: &[u8]) -> Option<At> {
        let (in_difference, found) = match self.difference.search(path) {
            Ok(index) => (true, index),
            Err(_) => (false, self.base.search(path).ok()?),
        };
        let at = At {
            in_difference,
            index: u32::try_from(found).ok()?,
        };
        (self.record(at).kind != Kind::Removed).then_some(at)
    }

    /// All records, sorted.
    pub fn iter(&self) -> Walk<'_> {
        Walk {
            tree: self,
            base: 0,
            base_end: self.base.len(),
            difference: 0,
            difference_end: self.difference.len(),
        }
    }

    /// All records below a directory; all there are below the empty path.
    pub fn below(&self, directory: &[u8]) -> Walk<'_> {
        if directory.is_empty() {
            return self.iter();
        }
        let mut first = directory.to_vec();
        first.push(b'/');
        let mut past = directory.to_vec();
        // The least name that sorts behind everything in the directory: no name holds a NUL.
        past.push(0);
        let bound = |list: &Manifest, path: &[u8]| list.search(path).unwrap_or_else(|at| at);
        Walk {
            tree: self,
            base: bound(&self.base, &first),
            base_end: bound(&self.base, &past),
            difference: bound(&self.difference, &first),
            difference_end: bound(&self.difference, &past),
        }
    }

    /// BLAKE3 over the paths below a directory, their kinds, executable bits and contents; no times.
    pub fn digest(&self, directory: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut line = Vec::new();
        let skip = if directory.is_empty() {
            0
        } else {
            directory.len() + 1
        };
        for at in self.below(directory) {
            let record = self.record(at);
            let path = self.path(at).get(skip..).unwrap_or_default();
            line.extend_from_slice(&(path.len() as u64).to_le_bytes());
            line.extend_from_slice(path);
            match record.kind {
                Kind::File if record.stat.mode & 0o100 != 0 => line.push(b'x'),
                Kind::File => line.push(b'f'),
                Kind::Symlink => line.push(b'l'),
                Kind::Directory | Kind::Removed => line.push(b'd'),
            }
            if matches!(record.kind, Kind::File | Kind::Symlink) {
                line.extend_from_slice(&record.digest);
            }
            if line.len() > 64 * 1024 {
                hasher.update(&line);
                line.clear();
            }
        }
        hasher.update(&line);
        *hasher.finalize().as_bytes()
    }
}

/// Whether a path is a `.git` or lies in one.
pub(super) fn is_in_dot_git(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b".git")
}

/// A path's bytes without a leading `./` or a trailing `/`.
pub(super) fn bytes_of(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.as_os_str().len());
    for part in path.components() {
        if let std::path::Component::CurDir = part {
            continue;
        }
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(part.as_os_str().as_bytes());
    }
    bytes
}

/// Goes through a [`Tree`] in order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    base: usize,
    base_end: usize,
    difference: usize,
    difference_end: usize,
}

impl Walk<'_> {
    fn at(in_difference: bool, index: usize) -> At {
        At {
            in_difference,
            index: u32::try_from(index).unwrap_or(u32::MAX),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = At;

    fn next(&mut self) -> Option<At> {
        loop {
            let which = match (self.base < self.base_end, self.difference < self.difference_end) {
                (false, false) => return None,
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (true, true) => order(
                    self.tree.base.path(self.base),
                    self.tree.difference.path(self.difference),
                ),
            };
            if which == Ordering::Less {
                self.base += 1;
                return Some(Self::at(false, self.base - 1));
            }
            if which == Ordering::Equal {
                self.base += 1;
            }
            self.difference += 1;
            let at = Self::at(true, self.difference - 1);
            if self.tree.record(at).kind != Kind::Removed {
                return Some(at);
            }
        }
    }
}
