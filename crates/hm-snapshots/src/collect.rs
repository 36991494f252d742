//! Eviction: the snapshots and cache directories used longest ago go until the rest is within the budget, which they
//! share.
//!
//! ```text
//! registered --(chosen: gate held exclusively, not pinned)--> evicting --(the backend removed it)--> gone
//! ```
//! A process that dies in between leaves the record in `evicting/`, and the next cleaner finishes it.

use std::fs::File;
use std::time::{Duration, SystemTime};

use futures::{FutureExt, StreamExt};

use super::{Registry, SnapshotRecord, files};
use hm_vm::{CacheDirectory, Result, SnapshotId, VmBackend, VmError};

/// How much the snapshots and the cache directories may take up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Above this, snapshots and cache directories are evicted.
    pub max_bytes: u64,
    /// Cleaning stops before less than this would be left, whatever the other two say.
    pub floor_bytes: u64,
    /// Below this much free disk space, they are evicted.
    pub min_free_bytes: u64,
}

/// What a cleaning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// How many snapshots.
    pub removed: u64,
    /// How many cache directories.
    pub directories: u64,
    /// How many bytes of real blocks.
    pub freed: u64,
    /// Another process was cleaning at that time, so this one did not.
    pub elsewhere: bool,
}

impl Collected {
    /// Counts a snapshot that was removed, or nothing for one that was not.
    fn add(&mut self, freed: Option<u64>) {
        if let Some(freed) = freed {
            self.removed += 1;
            self.freed = self.freed.saturating_add(freed);
        }
    }
}

/// How many snapshots are removed at once.
const AT_ONCE: usize = 8;

/// How often, at most, a cleaning looks for what nothing points to.
const TIDY_INTERVAL: Duration = Duration::from_secs(600);

impl Registry {
    /// Brings the snapshots and the cache directories within the budget: first snapshots that a power loss may have
    /// damaged, then of both those used longest ago, the youngest of equal snapshots first; never a snapshot that a
    /// living process has pinned. What the backend fails to remove is tried again next time.
    ///
    /// # Errors
    /// When the registry or the backend's store cannot be read.
    pub async fn collect(&self, backend: &dyn VmBackend, budget: &Budget) -> Result<Collected> {
        let mut collected = Collected::default();
        let Some(_cleaning) = self.try_cleaning()? else {
            collected.elsewhere = true;
            return Ok(collected);
        };
        self.finish_evictions(backend, &mut collected).await?;
        if self.tidy_is_due() {
            self.tidy(backend, &mut collected).await?;
        }
        let mut directories = backend.cache_directories_at_hand().await?;
        let mut used = backend.usage().await?.bytes;
        for directory in &directories {
            used = used.saturating_add(directory.bytes);
        }
        let within = |used: u64| {
            Ok::<_, VmError>(used <= budget.max_bytes && self.free_bytes()? >= budget.min_free_bytes)
        };
        if within(used)? {
            return Ok(collected);
        }
        directories.sort_by_key(|directory| directory.used);
        for candidate in in_turn(self.records()?, directories) {
            if within(used)? {
                break;
            }
            let would_free = match &candidate {
                Candidate::Snapshot(record) => backend.reclaimable(&record.id).await?,
                Candidate::Directory(directory) => directory.bytes,
            };
            if used.saturating_sub(would_free) < budget.floor_bytes {
                break;
            }
            let freed = match candidate {
                Candidate::Snapshot(record) if self.condemn(&record)? => {
                    self.evict(backend, &record.id, &mut collected).await
                }
                Candidate::Snapshot(_) => 0,
                Candidate::Directory(directory) => {
                    remove_directory(backend, &directory.name, &mut collected).await
                }
            };
            used = used.saturating_sub(freed);
        }
        if collected.removed > 0 {
            self.drop_dangling_keys()?;
        }
        Ok(collected)
    }

    /// Removes every snapshot that no living run has pinned, every key, everything remembered, and every cache directory
    /// that no command uses.
    ///
    /// # Errors
    /// When the registry or the backend's store cannot be read.
    pub async fn clean(&self, backend: &dyn VmBackend) -> Result<Collected> {
        let mut collected = Collected::default();
        let _cleaning = loop {
            if let Some(cleaning) = self.try_cleaning()? {
                break cleaning;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.finish_evictions(backend, &mut collected).await?;
        let mut condemned = Vec::new();
        for candidate in self.records()? {
            if self.condemn(&candidate)? {
                condemned.push(candidate.id);
            }
        }
        let evictions = condemned.iter().map(|id| self.evicted(backend, id).boxed());
        let mut evictions = futures::stream::iter(evictions).buffer_unordered(AT_ONCE);
        while let Some(freed) = evictions.next().await {
            collected.add(freed);
        }
        drop(evictions);
        for directory in backend.cache_directories().await? {
            remove_directory(backend, &directory.name, &mut collected).await;
        }
        for name in files::names(&self.dir("slots"))? {
            files::remove(&self.dir("slots").join(name))?;
        }
        self.tidy(backend, &mut collected).await?;
        Ok(collected)
    }

    /// Takes a snapshot out of the registry, unless somebody pinned or used it since it was listed.
    pub(super) fn condemn(&self, candidate: &SnapshotRecord) -> Result<bool> {
        let _gate = self.exclusive_gate()?;
        let path = self.snapshot_path(&candidate.id)?;
        let used_since = match std::fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(modified) => modified != candidate.last_used,
            Err(_) => true,
        };
        if used_since || self.pinned()?.contains(&candidate.id) {
            return Ok(false);
        }
        let target = self.evicting_path(&candidate.id)?;
        let moved = files::create_dir(&self.dir("evicting"))
            .and_then(|()| hm_fs::rename_over(&path, &target).map_err(VmError::io("cannot evict", &path)));
        // On a full disk there may be no block for the directory. Without its record the snapshot is one that nobody
        // registered, which a later cleaning finds if this one dies.
        moved.or_else(|_| files::remove(&path))?;
        Ok(true)
    }

    /// Has the backend remove a condemned snapshot; returns the bytes that it freed.
    pub(super) async fn evict(
        &self,
        backend: &dyn VmBackend,
        id: &SnapshotId,
        collected: &mut Collected,
    ) -> u64 {
        let freed = self.evicted(backend, id).await;
        collected.add(freed);
        freed.unwrap_or(0)
    }

    /// Has the backend remove a condemned snapshot. Nothing: it could not.
    async fn evicted(&self, backend: &dyn VmBackend, id: &SnapshotId) -> Option<u64> {
        let removed = match backend.remove(id).await {
            Ok(freed) => self
                .evicting_path(id)
                .and_then(|path| files::remove(&path))
                .map(|()| freed),
            Err(error) => Err(error),
        };
        removed
            .inspect_err(|error| {
                tracing::warn!(snapshot = %id, %error, "cannot remove a snapshot; the next cleaning tries again");
            })
            .ok()
    }

    /// Finishes what a cleaner that died had begun.
    async fn finish_evictions(&self, backend: &dyn VmBackend, collected: &mut Collected) -> Result<()> {
        for name in files::names(&self.dir("evicting"))? {
            if super::record::is_snapshot_id(&name) {
                self.evict(backend, &SnapshotId(name), collected).await;
            }
        }
        Ok(())
    }

    /// Held by the one process that cleans; nothing when another does.
    fn try_cleaning(&self) -> Result<Option<File>> {
        let path = self.dir("collect.lock");
        let lock = files::open_lock(path.clone())?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(VmError::io("cannot lock", path)(error)),
        }
    }

    fn tidy_is_due(&self) -> bool {
        let last = std::fs::metadata(self.dir("tidied")).and_then(|metadata| metadata.modified());
        last.ok()
            .and_then(|last| SystemTime::now().duration_since(last).ok())
            .is_none_or(|age| age > TIDY_INTERVAL)
    }
}

/// What may be evicted.
enum Candidate {
    Snapshot(SnapshotRecord),
    Directory(CacheDirectory),
}

/// Both in the order in which they are evicted, each of which is in that order already.
fn in_turn(records: Vec<SnapshotRecord>, directories: Vec<CacheDirectory>) -> Vec<Candidate> {
    let mut turns = Vec::with_capacity(records.len() + directories.len());
    let mut directories = directories.into_iter().peekable();
    for record in records {
        while let Some(older) =
            directories.next_if(|directory| !record.lost && directory.used < record.last_used)
        {
            turns.push(Candidate::Directory(older));
        }
        turns.push(Candidate::Snapshot(record));
    }
    turns.extend(directories.map(Candidate::Directory));
    turns
}

/// Has the backend remove a cache directory; returns the bytes that it freed: none when a command uses it.
async fn remove_directory(backend: &dyn VmBackend, name: &str, collected: &mut Collected) -> u64 {
    match backend.remove_cache_directory(name).await {
        Ok(freed) => {
            collected.directories += u64::from(freed > 0);
            collected.freed += freed;
            freed
        }
        Err(error) => {
            tracing::warn!(name, %error, "cannot remove a cache directory; the next cleaning tries again");
            0
        }
    }
}
