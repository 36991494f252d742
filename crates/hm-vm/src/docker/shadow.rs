//! What a snapshot hides of the source, and whether the source still has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bollard::models::{ChangeType, FilesystemChange};
use serde::{Deserialize, Serialize};

use crate::source::{Source, Was};

/// A path of the source that a snapshot hides, or would hide if it were there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shadow {
    path: PathBuf,
    /// What the source had there.
    was: Was,
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
                let path = Path::new(&change.path).strip_prefix(crate::WORKSPACE).ok()?;
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
            let was = if source.has_directory(path) && entered && !removed {
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
        self.0
            .iter()
            .find_map(|shadow| shadow.was.conflict(&shadow.path, source))
    }
}
