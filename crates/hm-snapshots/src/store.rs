//! The registry itself: keys to snapshots, snapshots to their last use, slots to key parts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::files;
use super::record::{self, Record, SnapshotOrigin};
use hm_vm::{Result, SnapshotId, VmError};

/// Remembers on disk which cache key a snapshot stands for. Cheap to open and to clone; every method may be
/// called from many threads and many processes at once.
#[derive(Debug, Clone)]
pub struct Registry {
    root: Arc<Path>,
    boot: Arc<str>,
}

impl Registry {
    /// The registry at `root`, one directory per backend, created when first written to.
    ///
    /// # Errors
    /// When this boot of the machine cannot be told from others.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self::open_in_boot(root, &super::durable::boot_id()?))
    }

    /// As [`Registry::open`], as if this were the boot of that name.
    pub(super) fn open_in_boot(root: &Path, boot: &str) -> Self {
        Self {
            root: root.into(),
            boot: boot.into(),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The snapshot that was recorded for a cache key, if it is still registered. It neither pins the snapshot
    /// ([`super::Lease::pin`]) nor counts as a use of it ([`Registry::touch_all`]).
    ///
    /// # Errors
    /// When a file is there and cannot be read; one that is damaged is removed and is a miss.
    pub fn lookup(&self, key: &str) -> Result<Option<SnapshotId>> {
        let path = self.key_path(key);
        let Some(bytes) = files::get(&path)? else {
            return Ok(None);
        };
        let snapshot = record::decode_key(&bytes)
            .filter(|(_, stored)| *stored == key)
            .map(|(id, _)| id);
        if let Some(snapshot) = snapshot
            && self.is_usable(&snapshot)?
        {
            return Ok(Some(snapshot));
        }
        files::remove(&path)?;
        Ok(None)
    }

    /// Registers a snapshot and remembers it for a cache key; the key's former snapshot stays registered.
    ///
    /// # Errors
    /// When the files cannot be written, such as on a full disk: then the key stands for what it stood for
    /// before, and the registry is as valid as it was.
    pub fn record(&self, key: &str, snapshot: &SnapshotId) -> Result<()> {
        self.register(snapshot)?;
        files::put(
            &self.root,
            &self.key_path(key),
            &record::encode_key(key, snapshot),
        )
    }

    /// Forgets a cache key; its snapshot stays until it is evicted.
    ///
    /// # Errors
    /// When the key's file cannot be removed.
    pub fn forget(&self, key: &str) -> Result<()> {
        files::remove(&self.key_path(key))
    }

    /// Registers a snapshot, with or without a key, so that it is kept and one day evicted. Once registered
    /// it stays as it is.
    ///
    /// # Errors
    /// When its record cannot be written or the id is none.
    pub fn register(&self, snapshot: &SnapshotId) -> Result<()> {
        self.register_from(snapshot, None)
    }

    pub(super) fn register_from(&self, snapshot: &SnapshotId, origin: Option<&SnapshotOrigin>) -> Result<()> {
        let path = self.snapshot_path(snapshot)?;
        if self.read_record(&path)?.is_some() {
            return Ok(());
        }
        files::put(
            &self.root,
            &path,
            &Record::new(&self.boot, SystemTime::now(), origin.cloned()).encode(),
        )
    }

    /// Says that a snapshot was used just now. One that is gone is no error.
    ///
    /// # Errors
    /// When its record cannot be changed.
    pub fn touch(&self, snapshot: &SnapshotId) -> Result<()> {
        self.touch_all(std::slice::from_ref(snapshot))
    }

    /// Says that these snapshots were used at one time. Among snapshots of the same last use the youngest is
    /// evicted first, a child thus before its parent: so one call per run, at its end, with all of them.
    ///
    /// # Errors
    /// When a record cannot be changed.
    pub fn touch_all(&self, snapshots: &[SnapshotId]) -> Result<()> {
        let now = SystemTime::now();
        for snapshot in snapshots {
            let path = self.snapshot_path(snapshot)?;
            match File::open(&path).and_then(|file| file.set_modified(now)) {
                Err(error) if !files::is_gone(&error) => {
                    return Err(VmError::io("cannot touch", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Remembers the parts that a step's cache key was made of; `slot` is any text that names the step.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn remember(&self, slot: &str, parts: &Value) -> Result<()> {
        let sealed = hm_fs::seal(parts.to_string().as_bytes());
        files::put(&self.root, &self.slot_path(slot), &sealed)
    }

    /// The parts that were remembered last for a slot.
    ///
    /// # Errors
    /// When the file is there and cannot be read; one that is damaged is removed and is nothing.
    pub fn recall(&self, slot: &str) -> Result<Option<Value>> {
        let path = self.slot_path(slot);
        let parts = files::get_sealed(&path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if parts.is_none() {
            files::remove(&path)?;
        }
        Ok(parts)
    }

    /// Whether a snapshot is registered and no power loss can have damaged it.
    pub(super) fn is_usable(&self, snapshot: &SnapshotId) -> Result<bool> {
        let record = self.read_record(&self.snapshot_path(snapshot)?)?;
        Ok(record.is_some_and(|record| !record.is_lost(&self.boot)))
    }

    /// A snapshot's record; a damaged one is nothing, and whoever registers that snapshot anew replaces it.
    pub(super) fn read_record(&self, path: &Path) -> Result<Option<Record>> {
        Ok(files::get(path)?.and_then(|bytes| Record::decode(&bytes)))
    }

    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn key_path(&self, key: &str) -> PathBuf {
        self.root.join("keys").join(record::key_file_name(key))
    }

    fn slot_path(&self, slot: &str) -> PathBuf {
        self.root.join("slots").join(record::file_name(slot))
    }

    pub(super) fn snapshot_path(&self, snapshot: &SnapshotId) -> Result<PathBuf> {
        self.named("snapshots", snapshot)
    }

    pub(super) fn evicting_path(&self, snapshot: &SnapshotId) -> Result<PathBuf> {
        self.named("evicting", snapshot)
    }

    fn named(&self, dir: &str, snapshot: &SnapshotId) -> Result<PathBuf> {
        if !record::is_snapshot_id(&snapshot.0) {
            return Err(VmError::Other(format!(
                "{:?} cannot be a snapshot's id",
                snapshot.0
            )));
        }
        Ok(self.root.join(dir).join(&snapshot.0))
    }
}
