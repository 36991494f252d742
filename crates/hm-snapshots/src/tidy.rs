//! What nothing points to: keys without a snapshot, snapshots that nobody registered, files that a killed
//! process had begun to write.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Collected, Registry, files, record};
use hm_vm::{Result, SnapshotId, VmBackend};

/// A snapshot or a file younger than this may be somebody's who is about to register it.
const SETTLED: Duration = Duration::from_secs(600);

/// Key parts that nobody asked for in this long are dropped.
const SLOT_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

impl Registry {
    /// Removes what nothing points to. Call it while cleaning.
    pub(super) async fn tidy(&self, backend: &dyn VmBackend, collected: &mut Collected) -> Result<()> {
        self.drop_damaged()?;
        for record in self.records()?.into_iter().filter(|record| record.lost) {
            if self.condemn(&record)? {
                self.evict(backend, &record.id, collected).await;
            }
        }
        self.drop_dangling_keys()?;
        self.drop_old("tmp", SETTLED)?;
        self.drop_old("slots", SLOT_AGE)?;
        let taken = backend.snapshots().await?;
        // Read after the backend's list: what was registered in between is known.
        let pinned = {
            let _gate = self.exclusive_gate()?;
            self.pinned()?
        };
        let known: BTreeSet<SnapshotId> = self.records()?.into_iter().map(|record| record.id).collect();
        for (id, taken_at) in taken {
            if is_older(taken_at, SETTLED) && !known.contains(&id) && !pinned.contains(&id) {
                match backend.remove(&id).await {
                    Ok(freed) => {
                        collected.removed += 1;
                        collected.freed += freed;
                    }
                    Err(error) => {
                        tracing::warn!(snapshot = %id, %error, "cannot remove an unregistered snapshot")
                    }
                }
            }
        }
        // A full disk has no room for it: then the next cleaning looks again.
        let _ = files::put(self.root(), &self.dir("tidied"), b"");
        Ok(())
    }

    /// Removes damaged records: their snapshots are then unregistered, and go as such.
    fn drop_damaged(&self) -> Result<()> {
        let dir = self.dir("snapshots");
        for name in files::names(&dir)? {
            let path = dir.join(&name);
            if !record::is_snapshot_id(&name) || self.read_record(&path)?.is_none() {
                files::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes damaged keys and those whose snapshot is gone.
    pub(super) fn drop_dangling_keys(&self) -> Result<()> {
        let dir = self.dir("keys");
        for name in files::names(&dir)? {
            let path = dir.join(name);
            let Some(bytes) = files::get(&path)? else { continue };
            let alive = match record::decode_key(&bytes) {
                Some((id, _)) => self.snapshot_path(&id)?.exists(),
                None => false,
            };
            if !alive {
                files::remove(&path)?;
            }
        }
        Ok(())
    }

    fn drop_old(&self, name: &str, age: Duration) -> Result<()> {
        let dir = self.dir(name);
        for name in files::names(&dir)? {
            let path = dir.join(name);
            let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| is_older(modified, age)) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }
}

fn is_older(time: SystemTime, age: Duration) -> bool {
    SystemTime::now()
        .duration_since(time)
        .is_ok_and(|since| since > age)
}
