//! Why a log could not be written or read.

use std::io;

use crate::BuildId;

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Records are missing.
    #[error("the log of build {build} ends at {head}: send what follows that")]
    Gap {
        /// The build.
        build: BuildId,
        /// The log's last number.
        head: u64,
    },
    /// A record cannot be kept.
    #[error("a record of the log of build {build} {what}")]
    BadRecord {
        /// The build.
        build: BuildId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It was removed while it was read.
    #[error("the log of build {build} was removed")]
    Removed {
        /// The build.
        build: BuildId,
    },
    /// Its file cannot be written or read.
    #[error("the log of build {build} cannot be kept or read")]
    Io {
        /// The build.
        build: BuildId,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}
