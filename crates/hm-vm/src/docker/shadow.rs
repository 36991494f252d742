//! What a snapshot hides of the source, and whether the source still has it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bollard::models::{ChangeType, FilesystemChange};
use serde::{Deserialize, Serialize};

use crate::source::{EntryKind, Source};

/// A path of the source that a snapshot hides, or would hide if it were there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shadow {
    path: PathBuf,
    /// What the source had there.
    was: Was,
}

/// What the source had at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Was {
    /// Nothing.
    Absent,
    /// A directory into which the snapshot's steps wrote; its entries have shadows of their own.
    Merged,
    /// This, as a digest of everything at the path and below it.
    Digest([u8; 32]),
}

impl Was {
    fn of(source: &Source, path: &Path) -> Self {
        let Some(entry) = source.get(path) else {
            return Self::Absent;
        };
        let mut hasher = blake3::Hasher::new();
        match &entry.kind {
            EntryKind::File { digest, .. } => {
                hasher.update(if entry.mode & 0o100 == 0 {
                    b"file "
                } else {
                    b"exec "
                });
                hasher.update(digest);
            }
            EntryKind::Symlink { target } => {
                hasher.update(b"link ");
                hasher.update(target.as_os_str().as_bytes());
            }
            EntryKind::Directory => {
                hasher.update(b"tree ");
                hasher.update(&source.subtree_digest(path).unwrap_or_default());
            }
        }
        Self::Digest(hasher.finalize().into())
    }
}

/// All shadows of a snapshot, its parents' included.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Shadows(BTreeSet<Shadow>);

impl Shadows {
    /// Adds what the engine says has changed since the source was laid. It names a directory for each change in it:
    /// below one that the source does not have, nothing more is to be known.
    pub(super) fn add(&mut self, changes: &[FilesystemChange], source: &Source) {
        let changes: BTreeMap<&Path, ChangeType> = changes
            .iter()
            .filter_map(|change| {
                let path = Path::new(&change.path).strip_prefix("/workspace").ok()?;
                (!path.as_os_str().is_empty()).then_some((path, change.kind))
            })
            .collect();
        let paths: Vec<&Path> = changes.keys().copied().collect();
        let mut hidden: Option<&Path> = None;
        for (index, path) in paths.iter().enumerate() {
            if hidden.is_some_and(|hidden| path.starts_with(hidden)) {
                continue;
            }
            let entered = paths.get(index + 1).is_some_and(|next| next.starts_with(path));
            let removed = changes.get(path) == Some(&ChangeType::_2);
            let is_directory = source
                .get(path)
                .is_some_and(|entry| matches!(entry.kind, EntryKind::Directory));
            let was = if is_directory && entered && !removed {
                Was::Merged
            } else {
                hidden = Some(path);
                Was::of(source, path)
            };
            self.0.insert(Shadow {
                path: path.to_path_buf(),
                was,
            });
        }
    }

    /// Whether a path of the source is hidden.
    pub(super) fn hides(&self, path: &Path) -> bool {
        self.0
            .iter()
            .any(|shadow| shadow.was != Was::Merged && path.starts_with(&shadow.path))
    }

    /// Why the snapshot cannot be used over a source, if it cannot.
    pub(super) fn conflict(&self, source: &Source) -> Option<String> {
        self.0.iter().find_map(|shadow| shadow.conflict(source))
    }
}

impl Shadow {
    fn conflict(&self, source: &Source) -> Option<String> {
        let path = self.path.display();
        let found = source.get(&self.path);
        match &self.was {
            Was::Merged if found.is_some_and(|entry| matches!(entry.kind, EntryKind::Directory)) => None,
            Was::Merged => Some(format!(
                "{path}, into which this snapshot had written, is no directory any more"
            )),
            was if *was == Was::of(source, &self.path) => None,
            Was::Absent => Some(format!(
                "{path}, which this snapshot has made itself, is in the source now"
            )),
            Was::Digest(_) => Some(format!(
                "{path}, which this snapshot had overwritten, has changed"
            )),
        }
    }
}
