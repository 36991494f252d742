//! The source tree: frozen at the start of a run, brought in by what changed, a layer of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What can go wrong while a worktree is frozen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as in `"cannot read"`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// What kind of thing a source path is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// BLAKE3 of its content.
        digest: [u8; 32],
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: PathBuf,
    },
    /// A directory.
    Directory,
}

/// One path of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its permission bits.
    pub mode: u32,
}

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
}

impl SourceStore {
    /// A store under `root`, which is created when first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the store lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// A worktree as it stood when the run began.
#[derive(Debug)]
pub struct Source {
    entries: Arc<BTreeMap<PathBuf, Entry>>,
    layers: Vec<PathBuf>,
}

impl Source {
    /// An empty source: no file, no layer.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            entries: Arc::default(),
            layers: Vec::new(),
        }
    }

    /// The layer directories, topmost first: each holds paths relative to `/workspace`; a path that is
    /// gone is a whiteout (character device 0:0). They never change while this value lives.
    #[must_use]
    pub fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    /// The entry at a path relative to the source's root.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }
}
