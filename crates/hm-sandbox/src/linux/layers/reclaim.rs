//! What processes that were killed have left behind.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::LayerStore;
use super::store::{Inner, entries};
use hm_vm::Result;

/// A layer that nothing names may be one that is just being sealed, unless it is older than this.
const SETTLED: Duration = Duration::from_secs(600);

impl LayerStore {
    /// Removes the directories of dead processes, layers that nothing names, and the trash.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn reclaim(&self) -> Result<()> {
        let store = &self.inner;
        {
            let _exclusive = store.lock_exclusive()?;
            let own = store.run_path();
            for entry in entries(&store.root.join("live"))? {
                if own.as_ref() != Some(&entry.path()) && is_dead(&entry.path()) {
                    store.trash.take(&entry.path())?;
                }
            }
            if store.orphans_are_due() {
                store.take_orphans()?;
            }
        }
        for entry in entries(store.trash.dir())? {
            store.trash.delete(&entry.path())?;
        }
        Ok(())
    }
}

impl Inner {
    fn orphans_are_due(&self) -> bool {
        let stamp = std::fs::metadata(self.root.join("reclaimed")).and_then(|stamp| stamp.modified());
        stamp.ok().is_none_or(is_settled)
    }

    fn take_orphans(&self) -> Result<()> {
        let references = self.references()?;
        for entry in entries(&self.root.join("layers"))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !references.contains_key(&name) && is_old(&entry) {
                if let Some(path) = self.take_layer(&name)? {
                    self.trash.delete(&path)?;
                }
                self.forget_layer(&name);
            }
        }
        for entry in entries(&self.root.join("snapshots"))? {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "new")
                && is_old(&entry)
            {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        // A full disk has no room for it: then the next run looks again.
        let _ = std::fs::write(self.root.join("reclaimed"), b"");
        Ok(())
    }
}

/// Whether the process that made a run's directory is gone. Call it with the exclusive lock held.
fn is_dead(run: &Path) -> bool {
    match hm_fs::open_existing(&run.join("lock")) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => hm_fs::is_absent(&error),
    }
}

fn is_old(entry: &std::fs::DirEntry) -> bool {
    entry
        .metadata()
        .and_then(|metadata| metadata.modified())
        .is_ok_and(is_settled)
}

fn is_settled(time: SystemTime) -> bool {
    SystemTime::now()
        .duration_since(time)
        .is_ok_and(|age| age > SETTLED)
}
