//! What a layer hides of the source, and whether the source still has it.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::ops::{FileOp, FileReply};
use super::store::Inner;
use super::{LayerRef, RawPath};
use crate::Result;
use crate::source::{EntryKind, Source};

/// A path of the source that a layer hides, or would hide if it were there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shadow {
    pub(super) path: RawPath,
    /// What the source had there.
    pub(super) was: Was,
}

/// What the source had at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Was {
    /// Nothing.
    Absent,
    /// A directory into which the layer wrote; its entries have shadows of their own.
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

impl Shadow {
    /// Why this shadow forbids to use its layer over a source, if it does.
    fn conflict(&self, source: &Source) -> Option<String> {
        let path = self.path.0.display();
        match &self.was {
            Was::Merged if is_directory(source, &self.path.0) => None,
            Was::Merged => Some(format!(
                "{path}, into which this snapshot had written, is no directory any more"
            )),
            was if *was == Was::of(source, &self.path.0) => None,
            Was::Absent => Some(format!(
                "{path}, which this snapshot has made itself, is in the source now"
            )),
            Was::Digest(_) => Some(format!(
                "{path}, which this snapshot had overwritten, has changed"
            )),
        }
    }
}

impl LayerRef {
    /// Why this layer cannot be used over a source, if it cannot.
    fn conflict(&self, source: &Source) -> Option<String> {
        self.meta
            .shadows
            .iter()
            .find_map(|shadow| shadow.conflict(source))
    }
}

/// Which layers cannot be used over one source, as far as that was asked.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    source: String,
    of_layers: HashMap<Arc<str>, Option<String>>,
}

impl Inner {
    /// Why a chain cannot be used over a source, if it cannot. Chains share most of their layers: each is
    /// compared once.
    pub(super) fn chain_conflict(&self, layers: &[LayerRef], source: &Source) -> Option<String> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.source != source.id() {
            *verdicts = Verdicts {
                source: source.id().to_owned(),
                of_layers: HashMap::new(),
            };
        }
        layers.iter().find_map(|layer| {
            let verdict = verdicts.of_layers.entry(layer.id.clone());
            verdict.or_insert_with(|| layer.conflict(source)).clone()
        })
    }

    /// What the upper directory of the workspace hides of the source. Descends only where the source has a
    /// directory too: a build directory of ten thousand files is one shadow.
    pub(super) fn survey(&self, upper: &Path, source: &Source) -> Result<Vec<Shadow>> {
        let mut shadows = Vec::new();
        let mut level = vec![PathBuf::new()];
        while !level.is_empty() {
            let directories = level.iter().map(|dir| upper.join(dir).into()).collect();
            let FileReply::Listed(listed) = self.run_op(FileOp::List { directories })? else {
                break;
            };
            let mut next = Vec::new();
            for (directory, entries) in level.iter().zip(listed) {
                for entry in entries {
                    let path = directory.join(&entry.name);
                    let was = if entry.is_directory && !entry.is_opaque && is_directory(source, &path) {
                        next.push(path.clone());
                        Was::Merged
                    } else {
                        Was::of(source, &path)
                    };
                    shadows.push(Shadow {
                        path: path.into(),
                        was,
                    });
                }
            }
            level = next;
        }
        shadows.sort();
        Ok(shadows)
    }
}

fn is_directory(source: &Source, path: &Path) -> bool {
    source
        .get(path)
        .is_some_and(|entry| matches!(entry.kind, EntryKind::Directory))
}
