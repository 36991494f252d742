//! Removes what nobody names any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, TryLockError};
use std::path::Path;
use std::time::Duration;

use hm_vm::{SnapshotId, VmError};
use uuid::Uuid;

use super::store::{Artifact, ArtifactStore, entries, parse_lines, two_below};
use crate::Result;

/// How long a snapshot's list stays although the snapshot is not known: it is written before the snapshot is registered.
const NEW: Duration = Duration::from_secs(3600);

/// What stays.
#[derive(Debug, Clone, Default)]
pub struct Keep {
    /// The recorded runs.
    pub runs: BTreeSet<Uuid>,
    /// The registered snapshots, by backend. What is known of the snapshots of a backend that is not here stays.
    pub snapshots: BTreeMap<String, BTreeSet<SnapshotId>>,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many contents it removed.
    pub removed: u64,
    /// How many bytes these had.
    pub freed: u64,
    /// Nothing was done: artifacts are being added, or another sweep goes on.
    pub busy: bool,
}

impl ArtifactStore {
    /// Removes what neither a run nor a snapshot that stays names. `keep` is asked while nobody can add anything, so
    /// that it knows of every run that has added something.
    ///
    /// # Errors
    /// When `keep` fails, or the store cannot be locked.
    pub fn sweep(&self, keep: impl FnOnce() -> Result<Keep>) -> Result<Swept> {
        if !self.root().is_dir() {
            return Ok(Swept::default());
        }
        let lock = self.lock_file()?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Ok(Swept {
                    busy: true,
                    ..Swept::default()
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(VmError::io("cannot lock", self.root().join("lock"))(error).into());
            }
        }
        let keep = keep()?;
        // Nobody copies anything out meanwhile.
        let _ = fs::remove_dir_all(self.root().join("tmp"));
        let mut named = BTreeSet::new();
        self.sweep_runs(&keep, &mut named);
        self.sweep_snapshots(&keep, &mut named);
        let mut swept = Swept::default();
        for path in two_below(&self.root().join("files")) {
            let is_named = path
                .file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|name| named.contains(name));
            if is_named {
                continue;
            }
            let bytes = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
            if hm_fs::remove_any(&path).is_ok() {
                swept.removed += 1;
                swept.freed += bytes;
            }
        }
        Ok(swept)
    }

    fn sweep_runs(&self, keep: &Keep, named: &mut BTreeSet<String>) {
        for path in entries(&self.root().join("runs")) {
            let run = path
                .file_stem()
                .and_then(OsStr::to_str)
                .and_then(|id| id.parse().ok());
            if run.is_some_and(|run: Uuid| keep.runs.contains(&run)) {
                let lines = hm_fs::read(&path).ok().flatten().unwrap_or_default();
                named.extend(parse_lines(&lines).0.into_iter().map(|artifact| artifact.digest));
            } else {
                let _ = hm_fs::remove_any(&path);
            }
        }
    }

    fn sweep_snapshots(&self, keep: &Keep, named: &mut BTreeSet<String>) {
        for backend in entries(&self.root().join("snapshots")) {
            let known = backend
                .file_name()
                .and_then(OsStr::to_str)
                .and_then(|name| keep.snapshots.get(name));
            for path in entries(&backend) {
                let stays = known.is_none_or(|known| is_known(&path, known)) || is_new(&path);
                if stays {
                    let text = hm_fs::read_sealed(&path).ok().flatten().unwrap_or_default();
                    let artifacts: Vec<Artifact> = serde_json::from_slice(&text).unwrap_or_default();
                    named.extend(artifacts.into_iter().map(|artifact| artifact.digest));
                } else {
                    let _ = hm_fs::remove_any(&path);
                }
            }
        }
    }
}

fn is_known(path: &Path, known: &BTreeSet<SnapshotId>) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.and_then(|name| name.strip_suffix(".json"))
        .is_some_and(|id| known.contains(&SnapshotId(id.to_owned())))
}

fn is_new(path: &Path) -> bool {
    let age = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map(|time| time.elapsed());
    // A time in the future is new, too.
    age.is_ok_and(|age| age.is_ok_and(|age| age < NEW))
}
