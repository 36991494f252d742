//! What can be done to a tree of files that a step wrote, as messages: the very same runs in this process
//! or in one inside the run's user namespace, where those files' owners exist.

mod list;
mod measure;
mod merge;
mod overlay;
mod remove;
mod settle;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::RawPath;
use hm_vm::Result;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileOp {
    /// Removes a tree, whatever its directories' modes. One that is gone is no error.
    RemoveTree {
        /// Its root.
        path: RawPath,
    },
    /// Merges one part of several layers into a new directory, by hard links.
    Merge {
        /// The part's directories, topmost first.
        sources: Vec<RawPath>,
        /// The directory to make.
        destination: RawPath,
        /// Nothing lies below what is merged, so nothing needs hiding there.
        closed: bool,
    },
    /// Makes one part of a layer stand for itself, before it is sealed: a directory that was renamed holds a reference
    /// to where it was, which is true over these layers alone, and of a file with several names those that were not
    /// written through are still the lower one's.
    Settle {
        /// The part's upper directory.
        upper: RawPath,
        /// Its work directory.
        work: RawPath,
        /// What it was mounted above, topmost first.
        lower: Vec<RawPath>,
        /// Files below it never change: a hard link is as good as a copy.
        sealed: RawPath,
    },
    /// Lists directories of a part, not what is below them.
    List {
        /// The directories.
        directories: Vec<RawPath>,
    },
    /// Measures a tree's real blocks; an inode with several names counts for its share.
    Measure {
        /// Its root.
        path: RawPath,
    },
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileReply {
    /// A tree was removed.
    Removed {
        /// Bytes of real blocks that are free now.
        freed: u64,
        /// Something is left that this process may not remove.
        denied: bool,
    },
    /// Layers were merged.
    Merged,
    /// A part was settled.
    Settled,
    /// What each of the directories holds.
    Listed(Vec<Vec<Listed>>),
    /// A tree was measured.
    Measured {
        /// Bytes of real blocks.
        bytes: u64,
        /// Files and directories.
        files: u64,
        /// Some of it could not be seen by this process.
        denied: bool,
    },
}

/// An entry of a directory in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: RawPath,
    /// Whether it is a directory; anything else is a file, a link or a whiteout.
    pub is_directory: bool,
    /// A directory that hides what lies below it.
    pub is_opaque: bool,
}

/// Where file operations run that this process may not do itself.
pub trait FileOps: Send + Sync + Debug {
    /// Runs one by [`perform`], somewhere.
    ///
    /// # Errors
    /// When it failed there, or the place cannot be reached.
    fn run(&self, op: FileOp) -> Result<FileReply>;
}

/// Runs file operations in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectFileOps;

impl FileOps for DirectFileOps {
    fn run(&self, op: FileOp) -> Result<FileReply> {
        perform(op)
    }
}

/// Does it, in this process.
///
/// # Errors
/// When a file operation fails. What this process may not do is `denied` in the reply where there is such a
/// field, else an error of the kind `PermissionDenied`.
pub fn perform(op: FileOp) -> Result<FileReply> {
    match op {
        FileOp::RemoveTree { path } => remove::remove_tree(path.as_ref()).map(|done| FileReply::Removed {
            freed: done.freed,
            denied: done.denied,
        }),
        FileOp::Merge {
            sources,
            destination,
            closed,
        } => {
            let sources = sources.into_iter().map(|source| source.0).collect();
            merge::merge(sources, destination.0, closed, None).map(|()| FileReply::Merged)
        }
        FileOp::Settle {
            upper,
            work,
            lower,
            sealed,
        } => {
            let lower = lower.into_iter().map(|lower| lower.0).collect();
            settle::settle(&upper.0, &work.0, lower, &sealed.0).map(|()| FileReply::Settled)
        }
        FileOp::List { directories } => directories
            .iter()
            .map(|dir| list::list(dir.as_ref()))
            .collect::<Result<_>>()
            .map(FileReply::Listed),
        FileOp::Measure { path } => measure::measure(path.as_ref())
            .map(|(bytes, files, denied)| FileReply::Measured { bytes, files, denied }),
    }
}
