//! The sandbox's layers: what each step wrote, sealed, stacked and never changed again.
//!
//! A *layer* is a directory with one *part* per overlay mount, named after the mount point with every `/`
//! as `@`: `@` for `/`, `@usr`, `@workspace`. A snapshot is an image and a list of layers.
//!
//! ```text
//! live/RUN/lock      locked while the process that makes these layers lives
//! live/RUN/N/upper   a layer in the making;  work   its overlays' work directories
//! layers/ID/         a sealed layer: its parts, layer.bin (parts, shadows), size (once measured)
//! snapshots/ID.json  a snapshot: its image and its layers, topmost first
//! trash/             on its way out
//! lock               shared while a snapshot is written, exclusive while layers are taken away
//! ```
//!
//! A layer is renamed into place before the snapshot that names it is, and a snapshot goes before its
//! layers do: so a process may be killed at any moment, and what it leaves is a layer that nothing names.
//!
//! What a step writes over a source file *shadows* it. Each layer records what the source had at those
//! paths; [`LayerStore::check`] compares that with today's source.
//!
//! Files in a layer may belong to ids of a user namespace, in directories that only root there may enter:
//! [`FileOp`] is what can be done to them, [`FileOps`] where it is done.

mod chain;
mod files;
mod flatten;
mod live;
mod ops;
mod raw_path;
mod reclaim;
mod seal;
mod shadow;
mod snapshots;
mod store;
mod survey;
mod trash;

pub use chain::{LayerChain, LayerRef};
pub use live::LiveLayer;
pub use ops::{DirectFileOps, FileOp, FileOps, FileReply, Listed, perform};
pub use raw_path::RawPath;
pub use store::LayerStore;

/// The part that holds what a step wrote in the source's directory.
pub const WORKSPACE_PART: &str = "@workspace";

/// A chain of this many layers is shortened before another is put on it: the kernel takes 500, but every
/// look-up of a name that is in none of them asks each.
pub const MAX_DEPTH: usize = 24;

/// The name of the part that holds what is written below a mount point.
#[must_use]
pub fn part_name(mount_point: &std::path::Path) -> String {
    mount_point.to_string_lossy().replace('/', "@")
}
