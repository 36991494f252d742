//! Shortening a chain: its topmost layers become one, by hard links.
//!
//! Only the upper part is merged, not the heavy layers at the bottom: a chain of a thousand small steps on a
//! large one links the large one's files never, not sixty times.

use super::chain::LayerMeta;
use super::store::{Inner, rename_into};
use super::{FileOp, LayerChain, LayerRef, LayerStore, MAX_DEPTH};
use hm_vm::Result;

/// How many of a full chain's layers stay as they are.
const KEPT: usize = MAX_DEPTH / 3;

/// A chain whose layers cannot be merged is used as it is up to here; the kernel takes 500.
const HARD_LIMIT: usize = 400;

impl LayerStore {
    /// The same chain with fewer layers. What is merged is named after what it was merged from: ten children
    /// of one snapshot share it.
    pub(super) fn shorten(&self, chain: &LayerChain) -> Result<LayerChain> {
        let split = chain.layers.len().saturating_sub(KEPT);
        let (upper, lower) = chain.layers.split_at(split);
        match self.merged(upper) {
            Ok(merged) => {
                let layers = std::iter::once(merged).chain(lower.iter().cloned()).collect();
                Ok(LayerChain {
                    image: chain.image.clone(),
                    layers,
                })
            }
            Err(error) if chain.layers.len() < HARD_LIMIT => {
                tracing::warn!(%error, "cannot merge layers; the chain stays as it is");
                Ok(chain.clone())
            }
            Err(error) => Err(error),
        }
    }

    fn merged(&self, layers: &[LayerRef]) -> Result<LayerRef> {
        let store = &self.inner;
        let ids: Vec<&str> = layers.iter().map(LayerRef::id).collect();
        let id = format!("m{}", &blake3::hash(ids.join(" ").as_bytes()).to_hex()[..32]);
        if let Ok(layer) = store.layer(&id)
            && layer.dir.exists()
        {
            return Ok(layer);
        }
        let meta = merged_meta(layers);
        let path = store.live_path()?;
        let made = merge_parts(store, layers, &meta, &path);
        if made.is_err() {
            let _ = store.trash.discard(&path);
        }
        made?;
        let target = store.layer_dir(&id);
        if let Err(error) = rename_into(&path, &target) {
            let _ = store.trash.discard(&path);
            // Another process has just made the same.
            if !target.exists() {
                return Err(error);
            }
        }
        for layer in layers {
            store.forget_size(layer.id());
        }
        Ok(store.remember_layer(&id, meta))
    }
}

fn merge_parts(store: &Inner, layers: &[LayerRef], meta: &LayerMeta, path: &std::path::Path) -> Result<()> {
    super::store::create_dir_all(path)?;
    for part in &meta.parts {
        let sources = layers
            .iter()
            .filter_map(|layer| layer.part_dir(part))
            .map(Into::into)
            .collect();
        store.run_merge(&FileOp::Merge {
            sources,
            destination: path.join(part).into(),
            closed: false,
        })?;
    }
    Inner::write_meta(path, meta)
}

/// What the merged layer shadows is all that the single ones do: where two have the same path with different
/// records, both stay, as no source can satisfy the two.
fn merged_meta(layers: &[LayerRef]) -> LayerMeta {
    let mut meta = LayerMeta {
        merged_from: layers.iter().map(|layer| layer.id().to_owned()).collect(),
        ..LayerMeta::default()
    };
    for layer in layers {
        meta.parts.extend(layer.meta.parts.iter().cloned());
        meta.shadows.extend(layer.meta.shadows.iter().cloned());
    }
    meta.parts.sort();
    meta.parts.dedup();
    meta.shadows.sort();
    meta.shadows.dedup();
    meta
}
