//! Which snapshots have reached the disk.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use super::record::{SYNCED, SYNCED_AT};
use super::{Registry, files};
use hm_vm::{Result, SnapshotId, VmError};

/// Names this boot of the machine.
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub(super) fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(path).map_err(VmError::io("cannot read", path))?;
    Ok(id.trim().to_owned())
}

/// Elsewhere the engines flush what they store themselves.
#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature everywhere")]
pub(super) fn boot_id() -> Result<String> {
    Ok("any".to_owned())
}

impl Registry {
    /// Flushes the file system that the registry lies on and marks every snapshot that was registered before
    /// as safe from a power loss. Slow where much was written: for the background. Returns how many it marked.
    ///
    /// The snapshots must lie on the same file system as the registry.
    ///
    /// # Errors
    /// When the file system cannot be flushed.
    pub fn mark_synced(&self) -> Result<usize> {
        let mut unsynced = Vec::new();
        for name in files::names(&self.dir("snapshots"))? {
            let path = self.snapshot_path(&SnapshotId(name))?;
            match self.read_record(&path)? {
                Some(record) if !record.synced && !record.is_lost(self.boot()) => unsynced.push(path),
                _ => {}
            }
        }
        if unsynced.is_empty() {
            return Ok(0);
        }
        self.flush()?;
        let mut marked = 0;
        for path in unsynced {
            // Overwritten in place: a record that was evicted in the meantime is not brought back.
            let mark = || -> std::io::Result<()> {
                let mut file = OpenOptions::new().write(true).open(&path)?;
                let last_used = file.metadata()?.modified()?;
                file.seek(SeekFrom::Start(SYNCED_AT))?;
                file.write_all(SYNCED)?;
                file.set_modified(last_used)
            };
            match mark() {
                Ok(()) => marked += 1,
                Err(error) if files::is_gone(&error) => {}
                Err(error) => return Err(VmError::io("cannot mark", path)(error)),
            }
        }
        Ok(marked)
    }

    #[cfg(all(target_os = "linux", not(hm_elsewhere)))]
    fn flush(&self) -> Result<()> {
        let root = std::fs::File::open(self.root()).map_err(VmError::io("cannot open", self.root()))?;
        rustix::fs::syncfs(&root).map_err(|error| VmError::io("cannot flush", self.root())(error.into()))
    }

    #[cfg(any(not(target_os = "linux"), hm_elsewhere))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the same signature everywhere"
    )]
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Bytes free on the registry's file system for an ordinary user.
    pub(super) fn free_bytes(&self) -> Result<u64> {
        #[cfg(unix)]
        {
            // Before the first snapshot the directory is not there: any ancestor tells.
            let there = self
                .root()
                .ancestors()
                .find(|path| path.exists())
                .unwrap_or(self.root());
            let stat = rustix::fs::statvfs(there)
                .map_err(|error| VmError::io("cannot measure", there)(error.into()))?;
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        }
        #[cfg(not(unix))]
        {
            Ok(u64::MAX)
        }
    }
}
