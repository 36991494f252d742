//! Sealing: what a step wrote becomes a snapshot, by two renames.

use serde::Serialize;

use super::chain::LayerMeta;
use super::chain::StoredSnapshot;
use super::store::{Inner, new_id, rename_into};
use super::{LayerChain, LayerStore, LiveLayer, MAX_DEPTH, WORKSPACE_PART};
use hm_source::Source;
use hm_vm::{Result, SnapshotId, VmError};

impl LayerStore {
    /// Seals what was written into a snapshot above `base`. Nothing may write to the layer any more. A step
    /// that wrote nothing gives a snapshot of the same layers.
    ///
    /// # Errors
    /// [`VmError::NotSealed`] when a directory cannot be read or renamed; what was written is thrown away then.
    pub fn seal(
        &self,
        live: LiveLayer,
        base: &LayerChain,
        source: &Source,
    ) -> Result<(SnapshotId, LayerChain)> {
        self.keep(live, base, source)
            .map_err(|source| VmError::NotSealed {
                source: Box::new(source),
            })
    }

    fn keep(&self, live: LiveLayer, base: &LayerChain, source: &Source) -> Result<(SnapshotId, LayerChain)> {
        let store = &self.inner;
        let id = new_id();
        let parts = live.written_parts()?;
        if parts.is_empty() {
            let chain = base.clone();
            self.discard(live)?;
            store.write_snapshot(&id, &chain)?;
            return Ok((SnapshotId(id), chain));
        }
        parts.iter().try_for_each(|part| live.settle(part))?;
        let mut meta = LayerMeta {
            parts,
            ..LayerMeta::default()
        };
        if meta.parts.iter().any(|part| part == WORKSPACE_PART) {
            meta.shadows = store.survey(&live.upper(WORKSPACE_PART), source)?;
        }
        Inner::write_meta(&live.upper_dir(), &meta)?;
        rename_into(&live.upper_dir(), &store.layer_dir(&id))?;
        self.discard(live)?;
        let sealed = self.stack(&id, meta, base);
        if sealed.is_err() {
            // A later run removes it as a layer that nothing names.
            let _ = store.trash.discard(&store.layer_dir(&id));
        }
        sealed
    }

    fn stack(&self, id: &str, meta: LayerMeta, base: &LayerChain) -> Result<(SnapshotId, LayerChain)> {
        let store = &self.inner;
        let mut chain = base.clone();
        if chain.layers.len() >= MAX_DEPTH {
            chain = self.shorten(&chain)?;
        }
        chain.layers.insert(0, store.remember_layer(id, meta));
        store.write_snapshot(id, &chain)?;
        Ok((SnapshotId(id.to_owned()), chain))
    }
}

impl Inner {
    /// Writes a snapshot's file, all of whose layers must be there.
    fn write_snapshot(&self, id: &str, chain: &LayerChain) -> Result<()> {
        let _shared = self.lock_shared()?;
        for layer in &chain.layers {
            if !layer.dir.exists() {
                return Err(VmError::Other(format!(
                    "cannot seal: layer {} was removed meanwhile",
                    layer.id
                )));
            }
        }
        let stored = StoredSnapshot {
            image: chain.image.clone(),
            layers: chain.layers.iter().map(|layer| layer.id.to_string()).collect(),
        };
        let path = self.snapshot_path(id);
        let temporary = path.with_extension("new");
        let bytes = hm_fs::seal(&to_json(&stored)?);
        let write = || std::fs::write(&temporary, &bytes);
        let written = match write() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                super::store::create_dir_all(&self.root.join("snapshots"))?;
                write()
            }
            written => written,
        };
        let written = written.and_then(|()| hm_fs::rename_over(&temporary, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written.map_err(VmError::io("cannot write", path))
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| VmError::Other(format!("cannot store a snapshot: {error}")))
}
