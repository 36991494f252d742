//! The files of the image store, which only some may write.

use std::path::PathBuf;
use std::sync::Arc;

use super::layers::{FileOp, FileOps, FileReply};
use super::supervision::Supervision;
use super::tarball;
use hm_oci::LayerFiles;
use hm_oci::unpack::Unpack;
use hm_vm::{Result, VmError};

/// The store's files, handled where their owners exist.
#[derive(Debug)]
pub(super) struct ImageFiles {
    pub supervision: Arc<Supervision>,
    pub files: Arc<dyn FileOps>,
}

impl LayerFiles for ImageFiles {
    fn remove_tree(&self, path: PathBuf) -> Result<u64> {
        let op = FileOp::RemoveTree {
            path: path.clone().into(),
        };
        match self.files.run(op)? {
            FileReply::Removed { denied: true, .. } => Err(VmError::io("cannot remove", path)(
                std::io::ErrorKind::PermissionDenied.into(),
            )),
            FileReply::Removed { freed, .. } => Ok(freed),
            _ => Ok(0),
        }
    }

    fn unpack(&self, order: Unpack, report: PathBuf) -> Result<()> {
        self.supervision.unpack(tarball::Unpack {
            order,
            report: Some(report),
        })
    }
}
