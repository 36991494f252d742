//! What a source had at a path that a snapshot hides, and whether it still has it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{EntryKind, Source};

/// What the source had at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ExpectedState {
    /// Nothing.
    Absent,
    /// A directory into which the snapshot's steps wrote; its entries have shadows of their own.
    Merged,
    /// This, as a digest of everything at the path and below it.
    Digest([u8; 32]),
}

impl ExpectedState {
    /// What a source has there now.
    pub fn of(source: &Source, path: &Path) -> Self {
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

    /// Why whatever hides `path` cannot lie over a source, if it cannot.
    pub fn conflict(&self, path: &Path, source: &Source) -> Option<String> {
        let shown = path.display();
        match self {
            Self::Merged if source.has_directory(path) => None,
            Self::Merged => Some(format!(
                "{shown}, into which this snapshot had written, is no directory any more"
            )),
            was if *was == Self::of(source, path) => None,
            Self::Absent => Some(format!(
                "{shown}, which this snapshot has made itself, is in the source now"
            )),
            Self::Digest(_) => Some(format!(
                "{shown}, which this snapshot had overwritten, has changed"
            )),
        }
    }
}
