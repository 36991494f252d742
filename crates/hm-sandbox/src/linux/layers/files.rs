//! The store's file operations for its neighbours: trees on the same file system that are no layers.

use std::path::{Path, PathBuf};

use super::LayerStore;
use super::ops::{FileOp, FileReply};
use hm_vm::Result;

impl LayerStore {
    /// Merges directories, topmost first, into a new one with nothing below it, by hard links.
    pub(in crate::linux) fn merge_all(&self, sources: Vec<PathBuf>, destination: &Path) -> Result<()> {
        self.inner.run_merge(&FileOp::Merge {
            sources: sources.into_iter().map(Into::into).collect(),
            destination: destination.into(),
            closed: true,
        })
    }

    /// A tree's share of real blocks.
    pub(in crate::linux) fn measure(&self, tree: &Path) -> Result<u64> {
        let op = FileOp::Measure { path: tree.into() };
        match self.inner.run_op(op)? {
            FileReply::Measured { bytes, .. } => Ok(bytes),
            _ => Ok(0),
        }
    }

    /// Throws a tree away, and deletes it in the background.
    pub(in crate::linux) fn throw_away(&self, tree: &Path) -> Result<()> {
        self.inner.trash.discard(tree)
    }

    /// Deletes a tree now; returns the bytes of real blocks that are free then.
    pub(in crate::linux) fn delete(&self, tree: &Path) -> Result<u64> {
        match self.inner.trash.take(tree)? {
            Some(taken) => self.inner.trash.delete(&taken),
            None => Ok(0),
        }
    }
}
