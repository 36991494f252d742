//! What a layer hides of the source, and whether the source still has it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::ops::{FileOp, FileReply};
use super::store::Inner;
use super::{LayerRef, RawPath};
use crate::Result;
use crate::source::{Source, Was};

/// A path of the source that a layer hides, or would hide if it were there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shadow {
    pub(super) path: RawPath,
    /// What the source had there.
    pub(super) was: Was,
}

impl LayerRef {
    /// Why this layer cannot be used over a source, if it cannot.
    fn conflict(&self, source: &Source) -> Option<String> {
        self.meta
            .shadows
            .iter()
            .find_map(|shadow| shadow.was.conflict(&shadow.path.0, source))
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
                    let was = if entry.is_directory && !entry.is_opaque && source.has_directory(&path) {
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
