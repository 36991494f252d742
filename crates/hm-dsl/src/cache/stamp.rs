//! What the file system says about a file without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// As long as this stays, a file's bytes (or a directory's names) have not changed. The change time is in it:
/// unlike the modification time, nobody can set it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    size: u64,
    inode: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.size(),
            inode: meta.ino(),
            mode: meta.mode(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether the author would see the same size, times and mode.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        (self.size, self.mode, self.modified) == (other.size, other.mode, other.modified)
    }

    /// Whether the last change may have come at or after `time`.
    pub(crate) fn changed_since(&self, time: SystemTime) -> bool {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.changed >= (seconds, i64::from(since.subsec_nanos()))
    }
}
