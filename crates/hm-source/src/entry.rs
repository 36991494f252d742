//! One path of a source, as others see it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What kind of thing a source path is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// BLAKE3 of its content.
        digest: [u8; 32],
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: PathBuf,
    },
    /// A directory.
    Directory,
}

/// One path of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its permission bits.
    pub mode: u32,
}
