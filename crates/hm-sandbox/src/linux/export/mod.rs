//! Copying files out of a machine, by a process of the supervisor's that sees its root.
//!
//! A step may have put anything anywhere: directories are opened one inside the other, never through a link and never
//! upwards, and only regular files are copied.

mod copy;
mod entry;
mod walk;

use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layers::RawPath;
use hm_vm::patterns::{Budget, Patterns};
use hm_vm::{Export, Exported, ExportedFile, Result, VmError};

/// What to copy out of which root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CopyOut {
    pub root: u64,
    pub patterns: Vec<String>,
    pub max_bytes: u64,
    pub max_files: u64,
}

/// What was copied, and what was left out and why.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Copied {
    files: Vec<(RawPath, u64)>,
    left_out: Vec<(RawPath, String)>,
}

impl From<Copied> for Exported {
    fn from(copied: Copied) -> Self {
        let files = copied
            .files
            .into_iter()
            .map(|(path, bytes)| ExportedFile { path: path.0, bytes });
        let left_out = copied.left_out.into_iter().map(|(path, reason)| (path.0, reason));
        Self {
            files: files.collect(),
            left_out: left_out.collect(),
        }
    }
}

/// Does it, in this process. The descriptor is the directory to copy to.
pub(super) fn copy_out(order: &CopyOut, root: &Path, fds: &[OwnedFd]) -> Result<Copied> {
    let [into] = fds else {
        return Err(VmError::Other("no directory came with the request".into()));
    };
    let what = Export {
        patterns: order.patterns.clone(),
        max_bytes: order.max_bytes,
        max_files: order.max_files,
    };
    let patterns = Patterns::compile(&what.patterns)?;
    let exported = walk::walk(root, &patterns, Budget::new(&what), into)?;
    Ok(Copied {
        files: exported
            .files
            .into_iter()
            .map(|file| (file.path.into(), file.bytes))
            .collect(),
        left_out: exported
            .left_out
            .into_iter()
            .map(|(path, reason)| (path.into(), reason))
            .collect(),
    })
}
