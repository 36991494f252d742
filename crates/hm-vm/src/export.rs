//! Files that leave a machine: what a step made, by glob patterns.

use std::path::PathBuf;

/// Which files of `/workspace` to copy out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Globs relative to `/workspace`; one that matches a directory takes all that is in it. `*` stops at `/`,
    /// `**` does not. Names that begin with a dot are like any other.
    pub patterns: Vec<String>,
    /// The most bytes that are copied; files beyond it are left out and named.
    pub max_bytes: u64,
    /// The most files that are copied.
    pub max_files: u64,
}

/// A file that was copied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedFile {
    /// Where it was, relative to `/workspace`; the copy has the same path below the destination.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What [`crate::Vm::export`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The copies, in the order of their paths. Regular files alone: links are never followed.
    pub files: Vec<ExportedFile>,
    /// What matched and was left out, with why in plain words.
    pub left_out: Vec<(PathBuf, String)>,
}
