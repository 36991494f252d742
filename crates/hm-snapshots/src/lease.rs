//! Leases: what a run uses is not evicted while its process lives.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::{Registry, SnapshotOrigin, files};
use hm_fs::line_digest;
use hm_vm::{Result, SnapshotId, VmError};

/// What one run uses. The lock on its file goes with the process, however that ends, and the pins with it.
///
/// A child process that inherits the file's descriptor across a bare `clone` keeps the lease alive.
#[derive(Debug)]
pub struct Lease {
    registry: Registry,
    path: PathBuf,
    file: File,
    pinned: Mutex<HashSet<SnapshotId>>,
}

/// What living processes have pinned.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    snapshots: BTreeSet<SnapshotId>,
    /// A living process's list is damaged: it may have pinned anything.
    unreadable: bool,
}

impl Pinned {
    pub(super) fn contains(&self, snapshot: &SnapshotId) -> bool {
        self.unreadable || self.snapshots.contains(snapshot)
    }
}

/// A line of a lease's file; nothing when it was damaged.
fn decode_pin(line: &[u8]) -> Option<SnapshotId> {
    let (snapshot, digest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    (line_digest(snapshot.as_bytes()) == digest).then(|| SnapshotId(snapshot.to_owned()))
}

impl Registry {
    /// A lease for a run that begins.
    ///
    /// # Errors
    /// When its file cannot be created.
    pub fn lease(&self) -> Result<Lease> {
        // A cleaner removes lease files that nobody holds: it must not find this one before it is locked.
        let _gate = self.shared_gate()?;
        let path = self.dir("leases").join(uuid::Uuid::now_v7().simple().to_string());
        let file = files::open_lock(path.clone())?;
        file.lock().map_err(VmError::io("cannot lock", &path))?;
        Ok(Lease {
            registry: self.clone(),
            path,
            file,
            pinned: Mutex::default(),
        })
    }

    /// While this is held, nothing is chosen for eviction.
    fn shared_gate(&self) -> Result<File> {
        let path = self.dir("gc.lock");
        let gate = files::open_lock(path.clone())?;
        gate.lock_shared().map_err(VmError::io("cannot lock", path))?;
        Ok(gate)
    }

    /// While this is held, nothing is pinned.
    pub(super) fn exclusive_gate(&self) -> Result<File> {
        let path = self.dir("gc.lock");
        let gate = files::open_lock(path.clone())?;
        gate.lock().map_err(VmError::io("cannot lock", path))?;
        Ok(gate)
    }

    /// What living processes have pinned; drops the leases of dead ones. Call it with the exclusive gate held.
    pub(super) fn pinned(&self) -> Result<Pinned> {
        let dir = self.dir("leases");
        let mut pinned = Pinned::default();
        for name in files::names(&dir)? {
            let path = dir.join(name);
            let Ok(file) = files::open_existing(&path) else {
                continue;
            };
            if file.try_lock().is_ok() {
                files::remove(&path)?;
                continue;
            }
            let bytes = files::get(&path)?.unwrap_or_default();
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match decode_pin(line) {
                    Some(snapshot) => drop(pinned.snapshots.insert(snapshot)),
                    None => pinned.unreadable = true,
                }
            }
        }
        Ok(pinned)
    }
}

impl Lease {
    /// Keeps a snapshot from being evicted for as long as this lease lives. False: it is gone, treat it as a
    /// miss.
    ///
    /// # Errors
    /// When the lease's file cannot be written.
    pub fn pin(&self, snapshot: &SnapshotId) -> Result<bool> {
        if self.holds(snapshot) {
            return Ok(true);
        }
        let _gate = self.registry.shared_gate()?;
        if !self.registry.is_usable(snapshot)? {
            return Ok(false);
        }
        self.hold(snapshot)?;
        Ok(true)
    }

    /// Registers a snapshot that was just taken and pins it, in one step: nobody can evict it in between.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn adopt(&self, snapshot: &SnapshotId) -> Result<()> {
        self.adopt_from(snapshot, None)
    }

    /// As [`Lease::adopt`], and remembers what left it.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn adopt_from(&self, snapshot: &SnapshotId, origin: Option<&SnapshotOrigin>) -> Result<()> {
        let _gate = self.registry.shared_gate()?;
        self.registry.register_from(snapshot, origin)?;
        self.hold(snapshot)
    }

    fn holds(&self, snapshot: &SnapshotId) -> bool {
        self.pinned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(snapshot)
    }

    fn hold(&self, snapshot: &SnapshotId) -> Result<()> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if !pinned.contains(snapshot) {
            // The line break in front ends what a full disk may have cut short before.
            let line = format!("\n{snapshot} {}\n", line_digest(snapshot.0.as_bytes()));
            let before = self.file.metadata().map(|metadata| metadata.len());
            let written = (&self.file).write_all(line.as_bytes());
            if written.is_err()
                && let Ok(before) = before
            {
                // Half a line would keep everything from being evicted, and a full disk from being freed.
                let _ = self.file.set_len(before);
            }
            written.map_err(VmError::io("cannot write", &self.path))?;
            pinned.insert(snapshot.clone());
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
