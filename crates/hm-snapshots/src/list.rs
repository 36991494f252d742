//! What is registered, for people and for the cleaner.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{Registry, SnapshotOrigin, files, record};
use hm_vm::{Result, SnapshotId};

/// One registered snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotRecord {
    /// The snapshot.
    pub id: SnapshotId,
    /// What left it, where that was said.
    pub origin: Option<SnapshotOrigin>,
    /// When it was last used.
    pub last_used: SystemTime,
    /// When it was registered.
    pub created: SystemTime,
    /// The cache keys that it stands for, in order; none for a step without a policy.
    pub keys: Vec<String>,
    /// Whether a living run uses it.
    pub pinned: bool,
    /// Whether it is known to have reached the disk.
    pub synced: bool,
    /// Whether a power loss may have damaged it: it is a miss, and the first to go.
    pub lost: bool,
}

impl Registry {
    /// Every registered snapshot, the one used longest ago first: the order in which they are evicted.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn list(&self) -> Result<Vec<SnapshotRecord>> {
        let mut keys: BTreeMap<SnapshotId, Vec<String>> = BTreeMap::new();
        let dir = self.dir("keys");
        for name in files::names(&dir)? {
            let bytes = files::get(&dir.join(name))?.unwrap_or_default();
            if let Some((id, key)) = record::decode_key(&bytes) {
                keys.entry(id).or_default().push(key.to_owned());
            }
        }
        let pinned = {
            let _gate = self.exclusive_gate()?;
            self.pinned()?
        };
        let mut records = self.records()?;
        for record in &mut records {
            record.keys = keys.remove(&record.id).unwrap_or_default();
            record.keys.sort();
            record.pinned = pinned.contains(&record.id);
        }
        Ok(records)
    }

    /// As [`Registry::list`], without the keys and the pins. A damaged record is a lost snapshot.
    pub(super) fn records(&self) -> Result<Vec<SnapshotRecord>> {
        let mut records = Vec::new();
        for name in files::names(&self.dir("snapshots"))? {
            if !record::is_snapshot_id(&name) {
                continue;
            }
            let id = SnapshotId(name);
            let path = self.snapshot_path(&id)?;
            let Ok(last_used) = std::fs::metadata(&path).and_then(|metadata| metadata.modified()) else {
                continue;
            };
            let read = self.read_record(&path)?;
            records.push(SnapshotRecord {
                id,
                last_used,
                created: read.as_ref().map_or(last_used, record::Record::created),
                keys: Vec::new(),
                pinned: false,
                synced: read.as_ref().is_some_and(|record| record.synced),
                lost: read.as_ref().is_none_or(|record| record.is_lost(self.boot())),
                origin: read.and_then(|record| record.origin),
            });
        }
        records.sort_by(|a, b| {
            (!a.lost, a.last_used)
                .cmp(&(!b.lost, b.last_used))
                .then(b.created.cmp(&a.created))
                .then(b.id.cmp(&a.id))
        });
        Ok(records)
    }
}
