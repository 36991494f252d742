//! The files of the image store, which only some may write.

use std::path::PathBuf;
use std::sync::Arc;

use super::layers::{FileOp, FileOps, FileReply};
use super::supervision::Supervision;
use super::tarball;
use crate::Result;
use crate::oci::LayerFiles;
use crate::oci::unpack::Unpack;

/// The store's files, handled where their owners exist.
#[derive(Debug)]
pub(super) struct ImageFiles {
    pub supervision: Arc<Supervision>,
    pub files: Arc<dyn FileOps>,
}

impl FileOps for ImageFiles {
    fn run(&self, op: FileOp) -> Result<FileReply> {
        self.files.run(op)
    }
}

impl LayerFiles for ImageFiles {
    fn unpack(&self, order: Unpack, report: PathBuf) -> Result<()> {
        self.supervision.unpack(tarball::Unpack {
            order,
            report: Some(report),
        })
    }
}
