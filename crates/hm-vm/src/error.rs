//! What can go wrong with virtual machines. A command that fails is no error: it is an exit status.

use std::path::PathBuf;

use crate::{ImageReference, SnapshotId};

/// The result of an operation on a virtual machine.
pub type Result<T, E = VmError> = std::result::Result<T, E>;

/// An infrastructure failure: each says what happened, to what, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// The image is not there.
    #[error("image {image} is not there: {reason}")]
    ImageNotFound {
        /// The image that was asked for.
        image: ImageReference,
        /// Why it could not be found and what would help.
        reason: String,
    },
    /// The snapshot is not there (any more).
    #[error("snapshot {0} is not there")]
    SnapshotNotFound(SnapshotId),
    /// Something that this machine's kernel or configuration does not offer.
    #[error("{what} is not available on this machine: {reason}")]
    Unsupported {
        /// The feature that is missing.
        what: String,
        /// Why, and what would mend it.
        reason: String,
    },
    /// A file operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as in `"cannot read"`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// What is stored on disk is not what was written there.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Freezing the source tree failed.
    #[error(transparent)]
    Source(#[from] hm_source::SourceError),
    /// No snapshot could be taken of what a step wrote.
    #[error(
        "what the step wrote is thrown away, for it could not be kept: {source}; mend that and run it again"
    )]
    NotSealed {
        /// Why not.
        #[source]
        source: Box<Self>,
    },
    /// A step's environment could not be set up.
    #[error("cannot set up the step: {0}")]
    Setup(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl VmError {
    /// Wraps an I/O error with what was being done to which file.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
