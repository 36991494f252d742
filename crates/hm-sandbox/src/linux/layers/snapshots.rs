//! Snapshots: found, checked, measured, removed.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::chain::StoredSnapshot;
use super::ops::{FileOp, FileReply};
use super::store::{Inner, META, SIZE, corrupt, entries};
use super::{LayerChain, LayerRef, LayerStore};
use hm_source::Source;
use hm_vm::{Result, SnapshotCheck, SnapshotId, Usage, VmError};

impl LayerStore {
    /// What a snapshot is stacked from.
    ///
    /// # Errors
    /// [`VmError::SnapshotNotFound`], or when one of its files is damaged.
    pub fn load(&self, snapshot: &SnapshotId) -> Result<LayerChain> {
        let Some(stored) = self.inner.stored(&snapshot.0)? else {
            return Err(VmError::SnapshotNotFound(snapshot.clone()));
        };
        let layers = stored
            .layers
            .iter()
            .map(|id| self.inner.layer(id))
            .collect::<Result<_>>()?;
        Ok(LayerChain {
            image: stored.image.clone(),
            layers,
        })
    }

    /// Whether a snapshot can be used over `source`: a damaged one is missing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check(&self, snapshot: &SnapshotId, source: &Source) -> Result<SnapshotCheck> {
        let chain = match self.load(snapshot) {
            Ok(chain) => chain,
            Err(VmError::SnapshotNotFound(_) | VmError::Corrupt { .. }) => return Ok(SnapshotCheck::Missing),
            Err(VmError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(SnapshotCheck::Missing);
            }
            Err(error) => return Err(error),
        };
        let conflict = self.inner.chain_conflict(&chain.layers, source);
        Ok(conflict.map_or(SnapshotCheck::Usable, SnapshotCheck::Stale))
    }

    /// Removes a snapshot and those of its layers that no other snapshot has; returns the bytes of real
    /// blocks that this freed. No machine may be using it: that is what the registry's pins are for.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn remove(&self, snapshot: &SnapshotId) -> Result<u64> {
        let store = &self.inner;
        let mut thrown = Vec::new();
        let mut sharing = Vec::new();
        {
            let _exclusive = store.lock_exclusive()?;
            let stored = store.stored(&snapshot.0);
            let path = store.snapshot_path(&snapshot.0);
            hm_fs::remove_any(&path).map_err(VmError::io("cannot remove", &path))?;
            store
                .snapshots
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&snapshot.0);
            // The layers of a damaged one are found later, as layers that nothing names.
            let Ok(Some(stored)) = stored else { return Ok(0) };
            let references = store.references()?;
            for id in stored.layers.iter().filter(|id| !references.contains_key(*id)) {
                sharing.extend(store.sharing(id, &references));
                thrown.extend(store.take_layer(id)?);
                store.forget_layer(id);
            }
        }
        let mut freed = 0;
        for path in thrown {
            freed += store.trash.delete(&path)?;
        }
        for id in sharing {
            store.forget_size(&id);
        }
        Ok(freed)
    }

    /// What [`LayerStore::remove`] would free.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        let store = &self.inner;
        let Ok(Some(stored)) = store.stored(&snapshot.0) else {
            return Ok(0);
        };
        let references = store.references()?;
        let own = stored
            .layers
            .iter()
            .filter(|id| references.get(*id).is_none_or(|count| *count <= 1));
        own.map(|id| store.size(id))
            .try_fold(0u64, |sum, size| Ok(sum.saturating_add(size?)))
    }

    /// What all layers take up. Measures those that were not measured before, and remembers that.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let store = &self.inner;
        let mut usage = Usage {
            bytes: 0,
            snapshots: self.snapshots()?.len() as u64,
        };
        for entry in entries(&store.root.join("layers"))? {
            let bytes = store.size(&entry.file_name().to_string_lossy())?;
            usage.bytes = usage.bytes.saturating_add(bytes);
        }
        Ok(usage)
    }

    /// Every snapshot and when it was taken.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(SnapshotId, SystemTime)>> {
        let mut snapshots = Vec::new();
        for entry in entries(&self.inner.root.join("snapshots"))? {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            if let Ok(taken) = entry.metadata().and_then(|metadata| metadata.modified()) {
                snapshots.push((SnapshotId(id.to_owned()), taken));
            }
        }
        Ok(snapshots)
    }
}

impl Inner {
    /// A snapshot's file, nothing when it is not there. It never changes, so it is read once.
    fn stored(&self, id: &str) -> Result<Option<Arc<StoredSnapshot>>> {
        let path = self.snapshot_path(id);
        let known = self
            .snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned();
        if let Some(known) = known {
            return Ok(path.exists().then_some(known));
        }
        let Some(bytes) = hm_fs::read(&path).map_err(VmError::io("cannot read", &path))? else {
            return Ok(None);
        };
        let stored: Option<StoredSnapshot> =
            hm_fs::unseal(&bytes).and_then(|content| serde_json::from_slice(content).ok());
        let stored = stored.ok_or_else(|| corrupt(&path))?;
        let stored = Arc::new(stored);
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned(), stored.clone());
        Ok(Some(stored))
    }

    /// How many snapshots each layer is in; a damaged snapshot has none.
    pub(super) fn references(&self) -> Result<HashMap<String, usize>> {
        let mut references = HashMap::new();
        for entry in entries(&self.root.join("snapshots"))? {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            if let Ok(Some(stored)) = self.stored(id) {
                for layer in &stored.layers {
                    *references.entry(layer.clone()).or_default() += 1;
                }
            }
        }
        Ok(references)
    }

    /// The layers that share files with this one: their sizes grow when it goes.
    fn sharing(&self, id: &str, layers: &HashMap<String, usize>) -> Vec<String> {
        let merged_from = |layer: &LayerRef| layer.meta.merged_from.clone();
        let mut sharing = self
            .layer(id)
            .map(|layer| merged_from(&layer))
            .unwrap_or_default();
        for other in layers.keys().filter(|other| other.starts_with('m')) {
            if self
                .layer(other)
                .is_ok_and(|layer| layer.meta.merged_from.iter().any(|from| from == id))
            {
                sharing.push(other.clone());
            }
        }
        sharing
    }

    /// A layer's share of real blocks, from its file or measured; nothing when the layer is gone.
    fn size(&self, id: &str) -> Result<u64> {
        let dir = self.layer_dir(id);
        if !dir.is_dir() {
            return Ok(0);
        }
        if let Some(size) = read_size(&dir) {
            return Ok(size);
        }
        let FileReply::Measured { bytes, .. } = self.run_op(FileOp::Measure {
            path: dir.clone().into(),
        })?
        else {
            return Ok(0);
        };
        write_size(&dir, bytes);
        Ok(read_size(&dir).unwrap_or(bytes))
    }

    pub(super) fn forget_size(&self, id: &str) {
        let _ = hm_fs::remove_any(&self.layer_dir(id).join(SIZE));
    }

    /// Takes a layer that nothing names out of the store; returns what is to be deleted.
    pub(super) fn take_layer(&self, id: &str) -> Result<Option<PathBuf>> {
        let path = self.layer_dir(id);
        match self.trash.take(&path) {
            // On a full disk there may be no block for the trash. Without its description a half deleted layer is none.
            Err(_) => {
                let meta = path.join(META);
                hm_fs::remove_any(&meta).map_err(VmError::io("cannot remove", meta))?;
                Ok(Some(path))
            }
            taken => taken,
        }
    }
}

/// A size that was remembered, and the blocks of the file that it is in.
fn read_size(dir: &Path) -> Option<u64> {
    let path = dir.join(SIZE);
    let content = hm_fs::read_sealed(&path).ok()??;
    let bytes: u64 = std::str::from_utf8(&content).ok()?.parse().ok()?;
    Some(bytes.saturating_add(std::fs::metadata(&path).ok()?.blocks() * 512))
}

/// Remembers a size. Where that fails it is measured again next time.
fn write_size(dir: &Path, bytes: u64) {
    let temporary = dir.join(format!("size.{}", std::process::id()));
    let written = std::fs::write(&temporary, hm_fs::seal(bytes.to_string().as_bytes()))
        .and_then(|()| hm_fs::rename_over(&temporary, &dir.join(SIZE)));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
}
