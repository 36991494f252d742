//! What can go wrong while a worktree is frozen.

use std::path::{Path, PathBuf};

/// What can go wrong while a worktree is frozen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
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
    /// A file or directory of the worktree cannot be read.
    #[error("cannot read {} of the worktree: {source}; make it readable, or name it in .gitignore", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The worktree is no directory.
    #[error("{} is not a directory: name the root of a worktree", path.display())]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// Files kept appearing and vanishing while the worktree was listed.
    #[error("{} keeps changing while it is read: run again once whatever writes it has ended", path.display())]
    Changing {
        /// The worktree.
        path: PathBuf,
    },
    /// Git's list of tracked files cannot be read.
    #[error("cannot read git's index {}: {reason}; `git status` says what git makes of it, `rm` and `git reset` write it anew", path.display())]
    Index {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The worktree holds more than one index can describe.
    #[error("the worktree {} holds too many files to freeze: name generated ones in .gitignore", path.display())]
    TooLarge {
        /// The worktree.
        path: PathBuf,
    },
}

impl SourceError {
    /// Wraps an I/O error with what was being done to which file.
    pub(super) fn io<E: Into<std::io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Wraps an I/O error met while reading the worktree.
    pub(super) fn unreadable<E: Into<std::io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Unreadable {
            path: path.to_owned(),
            source: source.into(),
        }
    }
}
