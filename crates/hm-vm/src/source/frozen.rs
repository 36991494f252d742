//! A worktree as it stood when the run began.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};

use super::entry::{Entry, EntryKind};
use super::error::SourceError;
use super::manifest::Kind;
use super::room::Found;
use super::tree::{Tree, bytes_of};

/// A worktree as it stood when the run began. While this value lives, its layers stay as they are.
#[derive(Debug)]
pub struct Source {
    id: String,
    tree: Tree,
    /// Topmost first.
    layers: Vec<PathBuf>,
    digest: OnceLock<String>,
    brought_in: u64,
    changed: Vec<PathBuf>,
    has_dot_git: bool,
    git_note: Option<String>,
    /// Held locked: nobody removes the layers meanwhile.
    _leases: Vec<File>,
}

impl Source {
    /// An empty source: no file, no layer.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            id: "empty".to_owned(),
            tree: Tree::default(),
            layers: Vec::new(),
            digest: OnceLock::new(),
            brought_in: 0,
            changed: Vec::new(),
            has_dot_git: false,
            git_note: None,
            _leases: Vec::new(),
        }
    }

    pub(super) fn from_found(
        key: &str,
        found: Found,
        news: Option<(u64, Vec<PathBuf>)>,
        dot_git: Option<(bool, Option<PathBuf>)>,
    ) -> Self {
        let (brought_in, changed) = news.unwrap_or_default();
        let (has_dot_git, gitfile) = dot_git.unwrap_or_default();
        let mut layers: Vec<PathBuf> = found.delta.iter().map(|delta| delta.join("tree")).collect();
        layers.push(found.base.join("tree"));
        Self {
            id: format!("{key}.{}", found.id),
            tree: found.tree,
            layers,
            digest: OnceLock::new(),
            brought_in,
            changed,
            has_dot_git,
            git_note: gitfile.map(|file| {
                format!(
                    "{} is a file that points to a repository elsewhere, which is not taken along: \
                     git will not work in the steps; run from a full clone if they need it",
                    file.display()
                )
            }),
            _leases: found.leases,
        }
    }

    /// What [`super::SourceStore::reopen`] takes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The layer directories, topmost first: each holds paths relative to `/workspace`; a path that is
    /// gone is a whiteout (character device 0:0). They never change while this value lives.
    #[must_use]
    pub fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    /// The entry at a path relative to the source's root.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<Entry> {
        self.tree.find(&bytes_of(path)).map(|at| self.tree.entry(at))
    }

    /// Whether it has a directory at a path.
    pub(crate) fn has_directory(&self, path: &Path) -> bool {
        self.get(path)
            .is_some_and(|entry| matches!(entry.kind, EntryKind::Directory))
    }

    /// Every path with its entry; each directory comes right before what is in it.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, Entry)> {
        let path = |at| Path::new(OsStr::from_bytes(self.tree.path(at)));
        self.tree.iter().map(move |at| (path(at), self.tree.entry(at)))
    }

    /// Every path as [`Source::entries`] gives it, with its modification time in nanoseconds since 1970.
    pub fn entries_with_times(&self) -> impl Iterator<Item = (&Path, Entry, i64)> {
        let path = |at| Path::new(OsStr::from_bytes(self.tree.path(at)));
        self.tree
            .iter()
            .map(move |at| (path(at), self.tree.entry(at), self.tree.record(at).stat.mtime))
    }

    /// How many regular files and links there are.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.tree.difference.header().files
    }

    /// How many of them were copied for this freeze.
    #[must_use]
    pub fn brought_in(&self) -> u64 {
        self.brought_in
    }

    /// What changed in kind, content or executable bit since this worktree's previous freeze: the first
    /// 1000 paths. Nothing after the first freeze.
    #[must_use]
    pub fn changed(&self) -> &[PathBuf] {
        &self.changed
    }

    /// The digest of all paths, kinds, executable bits and contents, in hexadecimal. Times are not in it.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = self.digest.get_or_init(|| {
            self.tree
                .digest(b"")
                .iter()
                .fold(String::with_capacity(64), |mut text, byte| {
                    // Writing into a string cannot fail.
                    let _ = write!(text, "{byte:02x}");
                    text
                })
        });
        text.clone()
    }

    /// The same digest of what is below one directory; `None` when it is no directory of the source.
    #[must_use]
    pub fn subtree_digest(&self, directory: &Path) -> Option<[u8; 32]> {
        let path = bytes_of(directory);
        if !path.is_empty() {
            let at = self.tree.find(&path)?;
            (self.tree.record(at).kind == Kind::Directory).then_some(())?;
        }
        Some(self.tree.digest(&path))
    }

    /// Opens a regular file, as it was frozen.
    ///
    /// # Errors
    /// When there is none at that path, or when it cannot be opened.
    pub fn open(&self, path: &Path) -> Result<File, SourceError> {
        let missing =
            || SourceError::io("cannot open", path)(std::io::Error::from(std::io::ErrorKind::NotFound));
        let bytes = bytes_of(path);
        let record = self
            .tree
            .find(&bytes)
            .map(|at| self.tree.record(at))
            .ok_or_else(missing)?;
        if record.kind != Kind::File {
            return Err(missing());
        }
        let layer = if record.delta {
            self.layers.first()
        } else {
            self.layers.last()
        };
        let file = layer.ok_or_else(missing)?.join(OsStr::from_bytes(&bytes));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&file, flags, Mode::empty())
            .map(File::from)
            .map_err(SourceError::io("cannot open", &file))
    }

    /// Whether the worktree has a `.git` of its own, taken along or not. Unknown, and so false, for a source
    /// that was opened again.
    #[must_use]
    pub fn has_dot_git_in_worktree(&self) -> bool {
        self.has_dot_git
    }

    /// Why git will not work in the steps although `.git` was asked for, where that is so.
    #[must_use]
    pub fn git_note(&self) -> Option<&str> {
        self.git_note.as_deref()
    }
}
