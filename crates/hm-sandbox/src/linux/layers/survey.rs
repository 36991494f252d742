//! Whether the source still has what layers hide of it, and what a new layer hides.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::chain::LayerRef;
use super::ops::{FileOp, FileReply};
use super::shadow::{Shadow, Verdicts};
use super::store::Inner;
use hm_source::{ExpectedState, Source};
use hm_vm::Result;

impl LayerRef {
    /// Why this layer cannot be used over a source, if it cannot.
    fn conflict(&self, source: &Source) -> Option<String> {
        self.meta
            .shadows
            .iter()
            .find_map(|shadow| shadow.expected.conflict(&shadow.path.0, source))
    }
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
                    let expected = if entry.is_directory && !entry.is_opaque && source.has_directory(&path) {
                        next.push(path.clone());
                        ExpectedState::Merged
                    } else {
                        ExpectedState::of(source, &path)
                    };
                    shadows.push(Shadow {
                        path: path.into(),
                        expected,
                    });
                }
            }
            level = next;
        }
        shadows.sort();
        Ok(shadows)
    }
}
