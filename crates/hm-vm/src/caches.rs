//! Cache directories: they outlive machines, and are in no snapshot.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::{ExecOutcome, ExitStatus, KillReason};

/// Whether what a command wrote to a cache directory is there for those that begin after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheKeep {
    /// It is thrown away: a person looks around. Whoever else wants the directory does not wait for such a command.
    Never,
    /// When the command exits with 0.
    #[default]
    Passed,
    /// However the command ends by itself: not when its caller ended it.
    Always,
}

impl CacheKeep {
    /// Whether what a command wrote is kept that ended so.
    #[must_use]
    pub fn keeps(self, outcome: &ExecOutcome) -> bool {
        match self {
            Self::Never => false,
            Self::Passed => outcome.killed.is_none() && outcome.status == ExitStatus::Code(0),
            Self::Always => outcome.killed != Some(KillReason::Canceled),
        }
    }
}

/// A cache directory as a command sees it.
///
/// Commands that run at once never see each other half-way: a backend gives each its own view, or lets one wait
/// for the other. What a command wrote is there for those that begin after it, or thrown away, as [`CacheKeep`] says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheMount {
    /// Its name in the backend: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where it is, absolute, or with `~/` for the home of the command's user.
    pub path: PathBuf,
    /// What becomes of what a command writes there.
    pub keep: CacheKeep,
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
