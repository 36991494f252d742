//! Cache directories: they outlive machines, and are in no snapshot.

use std::path::PathBuf;
use std::time::SystemTime;

/// A cache directory as a command sees it.
///
/// Commands that run at once never see each other half-way: a backend gives each its own view, or lets one wait
/// for the other. What a command that exits with 0 wrote is there for those that begin after it; what any other
/// wrote is thrown away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheMount {
    /// Its name in the backend: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where it is, absolute, or with `~/` for the home of the command's user.
    pub path: PathBuf,
}

/// A cache directory that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDirectory {
    /// Its name.
    pub name: String,
    /// Bytes of real blocks.
    pub bytes: u64,
    /// When a command used it last.
    pub used: SystemTime,
}
