//! A chain of layers: what a machine's overlays are stacked from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shadow::Shadow;
use hm_vm::ResolvedImage;

/// What is known of a layer without looking into it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerMeta {
    /// The parts that it has, in order.
    pub(super) parts: Vec<String>,
    /// What it shadows of the source.
    pub(super) shadows: Vec<Shadow>,
    /// The layers that it was merged from: it shares files with them.
    pub(super) merged_from: Vec<String>,
}

/// A sealed layer.
#[derive(Debug, Clone)]
pub struct LayerRef {
    pub(super) id: Arc<str>,
    pub(super) dir: Arc<Path>,
    pub(super) meta: Arc<LayerMeta>,
}

impl LayerRef {
    /// Its name in the store.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its directory of a part, when it has that part.
    #[must_use]
    pub fn part_dir(&self, part: &str) -> Option<PathBuf> {
        self.meta
            .parts
            .iter()
            .any(|own| own == part)
            .then(|| self.dir.join(part))
    }
}

/// An image and what steps wrote on it.
#[derive(Debug, Clone)]
pub struct LayerChain {
    /// What lies below all layers.
    pub image: ResolvedImage,
    /// The layers, topmost first.
    pub layers: Vec<LayerRef>,
}

impl LayerChain {
    /// An image on which nothing was written yet.
    #[must_use]
    pub const fn new(image: ResolvedImage) -> Self {
        Self {
            image,
            layers: Vec::new(),
        }
    }

    /// The directories of one part, topmost first, to be stacked above the image (and the source).
    #[must_use]
    pub fn lower_dirs(&self, part: &str) -> Vec<PathBuf> {
        self.layers
            .iter()
            .filter_map(|layer| layer.part_dir(part))
            .collect()
    }

    /// Every part that some layer has, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        let mut parts: Vec<_> = self
            .layers
            .iter()
            .flat_map(|layer| layer.meta.parts.iter().cloned())
            .collect();
        parts.sort();
        parts.dedup();
        parts
    }
}

/// A snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredSnapshot {
    pub(super) image: ResolvedImage,
    /// Topmost first.
    pub(super) layers: Vec<String>,
}
