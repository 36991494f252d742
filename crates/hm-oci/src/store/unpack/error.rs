//! Why an archive was not unpacked.

use std::io;

use rustix::io::Errno;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// No honest program writes such an entry.
    #[error("it is refused: {0}")]
    Refused(String),
    /// It is more than it may be.
    #[error("it is refused: {0}")]
    TooMuch(String),
    /// It is no archive, or not all of one.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is not what its digest says.
    #[error("it is damaged: {what} has the digest {found} and not {expected}")]
    Digest {
        /// What was digested.
        what: &'static str,
        /// What was promised.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file operation failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done, as in `"cannot create"`.
        action: &'static str,
        /// To what.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// Wraps a failed system call with what was being done to which entry.
    pub(super) fn call(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = shown(path);
        move |errno| Self::Io {
            action,
            path,
            source: errno.into(),
        }
    }

    /// What reading the archive gave: an error of ours passes through it unchanged.
    pub(super) fn reading(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("it ends in the middle".into())
            }
            Err(error) => Self::Damaged(error.to_string()),
        }
    }
}

/// A name of an entry in words: a hostile one may hold anything.
pub(super) fn shown(path: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(&path[..path.len().min(LONGEST)]);
    let dots = if path.len() > LONGEST { "…" } else { "" };
    format!("`{}{dots}`", text.escape_debug())
}
