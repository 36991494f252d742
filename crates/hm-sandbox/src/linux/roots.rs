//! Roots on hm's side: which machine writes to which layer, and which roots that nobody wrote to can serve another.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::client::Supervisor;
use super::images::Image;
use super::layers::{LayerChain, LayerStore, LiveLayer, part_name};
use super::protocol::{Overlay, Root};
use super::supervision::Supervision;
use hm_source::Source;
use hm_vm::{Result, WORKSPACE};

/// How many untouched roots are kept mounted.
const SPARES: usize = 8;

/// What a machine is stacked from. Two machines with the same are in the same state before they write anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stack {
    /// Mount points and their lower directories, topmost first.
    overlays: Vec<(PathBuf, Vec<PathBuf>)>,
}

impl Stack {
    /// The image, the source above it, the chain's layers above both.
    pub(super) fn new(image: &Image, source: &Source, chain: &LayerChain, empty: &Path) -> Self {
        let stacked = |(mount, base): &(PathBuf, Vec<PathBuf>)| {
            let mut lower = chain.lower_dirs(&part_name(mount));
            if mount == Path::new(WORKSPACE) {
                lower.extend_from_slice(source.layers());
            }
            lower.extend_from_slice(base);
            if lower.is_empty() {
                lower.push(empty.to_owned());
            }
            (mount.clone(), lower)
        };
        Self {
            overlays: image.overlays.iter().map(stacked).collect(),
        }
    }
}

/// A root that is mounted, or about to be, in the supervisor.
#[derive(Debug)]
pub(super) struct MountedRoot {
    pub id: u64,
    pub live: LiveLayer,
    stack: Stack,
    /// In whose mount namespace it is: no other can start a command in it.
    pub supervisor: Arc<Supervisor>,
    /// What it lies upon stays while it is mounted.
    _source: Arc<Source>,
}

impl MountedRoot {
    /// Unmounts it and gives out what was written.
    pub(super) fn unmount(self) -> LiveLayer {
        self.supervisor.unmount(self.id);
        self.live
    }
}

/// Roots that nothing was written to, still mounted.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<MountedRoot>>);

impl Spares {
    /// A root for a machine: one that is mounted already, or a new one.
    pub(super) fn take(
        &self,
        (layers, supervision): (&LayerStore, &Supervision),
        image: &Image,
        stack: Stack,
        source: &Arc<Source>,
    ) -> Result<MountedRoot> {
        {
            let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = spares.iter().position(|spare| spare.stack == stack) {
                return Ok(spares.remove(place));
            }
        }
        let parts: Vec<_> = stack.overlays.iter().map(|(mount, _)| part_name(mount)).collect();
        let mut live = layers.begin(&parts)?;
        for ((_, lower), part) in stack.overlays.iter().zip(&parts) {
            live.lies_above(part, lower.clone());
        }
        let short = |path: &Path| supervision.short(path);
        let overlay = |((mount, lower), part): (&(PathBuf, Vec<PathBuf>), &String)| Overlay {
            target: mount.clone(),
            lower: lower.iter().map(|path| short(path)).collect(),
            upper: short(&live.upper(part)),
            work: short(&live.work(part)),
        };
        let root = Root {
            overlays: stack.overlays.iter().zip(&parts).map(overlay).collect(),
            binds: image.binds.clone(),
        };
        let supervisor = supervision.supervisor()?;
        let id = supervisor.mount(root)?;
        Ok(MountedRoot {
            id,
            live,
            stack,
            supervisor,
            _source: source.clone(),
        })
    }

    /// Takes back a root that nothing was written to.
    pub(super) fn give_back(&self, root: MountedRoot) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.push(root);
        if spares.len() > SPARES {
            drop(spares.remove(0).unmount());
        }
    }

    /// Unmounts them all.
    pub(super) fn clear(&self) {
        let spares = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        spares.into_iter().for_each(|spare| drop(spare.unmount()));
    }
}
