//! A worktree as it stood when the run began.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};

use super::entry::Entry;
use super::error::SourceError;
use super::manifest::{Kind, Record, order};
use super::room::Found;
use super::tree::{Tree, bytes_of, is_in_dot_git};

/// One tree with its layers.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    tree: Tree,
    /// Topmost first.
    layers: Vec<PathBuf>,
    id: String,
    /// Held locked: nobody removes the layers meanwhile.
    _leases: Arc<Vec<File>>,
}

impl Part {
    pub fn new(key: &str, found: Found) -> Self {
        let mut layers: Vec<PathBuf> = found.delta.iter().map(|delta| delta.join("tree")).collect();
        layers.push(found.base.join("tree"));
        Self {
            tree: found.tree,
            layers,
            id: format!("{key}.{}", found.id),
            _leases: Arc::new(found.leases),
        }
    }

    fn file(&self, path: &[u8]) -> Option<PathBuf> {
        let record = self.tree.record(self.tree.find(path)?);
        if record.kind != Kind::File {
            return None;
        }
        let layer = if record.delta {
            self.layers.first()
        } else {
            self.layers.last()
        };
        Some(layer?.join(OsStr::from_bytes(path)))
    }
}

/// A worktree as it stood when the run began. While this value lives, its layers stay as they are.
#[derive(Debug, Clone)]
pub struct Source {
    id: String,
    tree: Part,
    /// What every `.git` holds, over the tree's own directories.
    git: Option<Part>,
    /// The directories named `.git`, where they are in it.
    dot_gits: Vec<Vec<u8>>,
    /// Topmost first.
    layers: Vec<PathBuf>,
    digest: OnceLock<String>,
    brought_in: u64,
    changed: Vec<PathBuf>,
    notes: Vec<String>,
    git_notes: Vec<String>,
}

impl Source {
    /// An empty source: no file, no layer.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            id: "empty".to_owned(),
            ..Self::of(Part::default())
        }
    }

    /// The files of a worktree.
    pub(super) fn of(tree: Part) -> Self {
        Self {
            id: tree.id.clone(),
            layers: tree.layers.clone(),
            tree,
            git: None,
            dot_gits: Vec::new(),
            digest: OnceLock::new(),
            brought_in: 0,
            changed: Vec::new(),
            notes: Vec::new(),
            git_notes: Vec::new(),
        }
    }

    /// Says what came of bringing it in.
    pub(super) fn with_news(mut self, brought_in: u64, changed: Vec<PathBuf>, notes: Vec<String>) -> Self {
        self.brought_in = brought_in;
        self.changed = changed;
        self.notes = notes;
        self
    }

    /// The same with what `.git` holds in some of its directories.
    pub(super) fn with_git(mut self, git: Part, changed: bool, notes: Vec<String>) -> Self {
        self.id = format!("{}+{}", self.tree.id, git.id);
        self.layers = [git.layers.as_slice(), self.tree.layers.as_slice()].concat();
        self.dot_gits = git
            .tree
            .iter()
            .map(|at| git.tree.path(at).to_vec())
            .filter(|path| path == b".git" || path.ends_with(b"/.git"))
            .collect();
        if changed {
            self.changed.push(PathBuf::from(".git"));
        }
        self.git_notes = notes;
        self.git = Some(git);
        self.digest = OnceLock::new();
        self
    }

    /// The same source as a step sees it that did not ask for `.git`.
    #[must_use]
    pub fn without_git(&self) -> Self {
        let changed = self.changed.iter().filter(|path| path.as_os_str() != ".git");
        Self {
            brought_in: self.brought_in,
            changed: changed.cloned().collect(),
            notes: self.notes.clone(),
            ..Self::of(self.tree.clone())
        }
    }

    /// Whether it holds what every `.git` of the worktree holds.
    #[must_use]
    pub const fn has_git(&self) -> bool {
        self.git.is_some()
    }

    /// The part that has a path, if any has.
    fn part(&self, path: &[u8]) -> Option<&Part> {
        if is_in_dot_git(path) {
            self.git.as_ref()
        } else {
            Some(&self.tree)
        }
    }

    /// A path's record.
    pub(super) fn record(&self, path: &[u8]) -> Option<Record> {
        let tree = &self.part(path)?.tree;
        tree.find(path).map(|at| tree.record(at))
    }

    /// The records below a directory, all from the part that has the directory.
    pub(super) fn records_below(&self, directory: &[u8]) -> Vec<(Vec<u8>, Record)> {
        let Some(part) = self.part(directory) else {
            return Vec::new();
        };
        let below = part.tree.below(directory);
        below
            .map(|at| (part.tree.path(at).to_vec(), part.tree.record(at)))
            .collect()
    }

    /// Where the content of a regular file lies.
    pub(super) fn file(&self, path: &[u8]) -> Option<PathBuf> {
        self.part(path)?.file(path)
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
        let path = bytes_of(path);
        let tree = &self.part(&path)?.tree;
        tree.find(&path).map(|at| tree.entry(at))
    }

    /// Whether it has a directory at a path.
    #[cfg(all(target_os = "linux", not(hm_elsewhere)))]
    pub fn has_directory(&self, path: &Path) -> bool {
        self.get(path)
            .is_some_and(|entry| matches!(entry.kind, super::entry::EntryKind::Directory))
    }

    /// Every path with its entry; each directory comes right before what is in it.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, Entry)> {
        self.entries_with_times().map(|(path, entry, _)| (path, entry))
    }

    /// Every path as [`Source::entries`] gives it, with its modification time in nanoseconds since 1970.
    pub fn entries_with_times(&self) -> impl Iterator<Item = (&Path, Entry, i64)> {
        fn all(tree: &Tree) -> impl Iterator<Item = (&[u8], Entry, i64)> {
            tree.iter()
                .map(|at| (tree.path(at), tree.entry(at), tree.record(at).stat.mtime))
        }
        let git = self.git.iter().flat_map(|git| all(&git.tree));
        let mut git = git.filter(|(path, ..)| is_in_dot_git(path)).peekable();
        let mut tree = all(&self.tree.tree).peekable();
        std::iter::from_fn(move || {
            let is_gits_turn = match (git.peek(), tree.peek()) {
                (Some((git, ..)), Some((tree, ..))) => order(git, tree).is_lt(),
                (git, _) => git.is_some(),
            };
            if is_gits_turn { git.next() } else { tree.next() }
        })
        .map(|(path, entry, time)| (Path::new(OsStr::from_bytes(path)), entry, time))
    }

    /// How many regular files and links there are, outside every `.git`.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.tree.tree.difference.header().files
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

    /// The digest of the files, and of what `of_git` makes of the worktree's repositories where it has them.
    pub(crate) fn digest_with(&self, of_git: impl FnOnce(&[Vec<u8>]) -> [u8; 32]) -> String {
        let text = self.digest.get_or_init(|| {
            let tree = self.tree.tree.digest(b"");
            if self.git.is_none() {
                return blake3::Hash::from_bytes(tree).to_hex().to_string();
            }
            let mut hasher = blake3::Hasher::new();
            hasher.update(&tree);
            hasher.update(&of_git(&self.dot_gits));
            hasher.finalize().to_hex().to_string()
        });
        text.clone()
    }

    /// The digest of what is below one directory, no `.git` included; `None` when it is no directory of the source.
    #[must_use]
    pub fn subtree_digest(&self, directory: &Path) -> Option<[u8; 32]> {
        let path = bytes_of(directory);
        let tree = &self.part(&path)?.tree;
        if !path.is_empty() {
            let at = tree.find(&path)?;
            (tree.record(at).kind == Kind::Directory).then_some(())?;
        }
        Some(tree.digest(&path))
    }

    /// Opens a regular file, as it was frozen.
    ///
    /// # Errors
    /// When there is none at that path, or when it cannot be opened.
    pub fn open(&self, path: &Path) -> Result<File, SourceError> {
        let file = self.file(&bytes_of(path)).ok_or_else(|| {
            SourceError::io("cannot open", path)(std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&file, flags, Mode::empty())
            .map(File::from)
            .map_err(SourceError::io("cannot open", &file))
    }

    /// What of the worktree could not be brought in as it is there, and why git will not work in steps where it
    /// was asked for; a sentence each.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().chain(&self.git_notes).map(String::as_str)
    }
}
