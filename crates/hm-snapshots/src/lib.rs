//! The snapshot registry: which snapshot stands for which cache key, when it was last used, who uses it now.
//!
//! One directory of plain files, each written beside and renamed into place, so that twenty processes and a
//! `kill -9` at any moment leave it valid; a file that is damaged all the same is a miss and goes.
//!
//! ```text
//! snapshots/ID   one per snapshot: its boot, when it was made; its modification time is the last use
//! keys/KEY       a cache key: the snapshot's id
//! slots/HASH     the key parts that a step had last, to explain a miss
//! leases/ID      one per run, locked while its process lives: the snapshots that it uses
//! evicting/ID    a snapshot's record on its way out: its backend is being told to remove it
//! gc.lock        shared while a snapshot is pinned, exclusive while the next one to go is chosen
//! collect.lock   held by the one process that cleans
//! ```
//!
//! Snapshots are not flushed to disk when they are taken. One that an earlier boot of this machine left
//! unflushed may be damaged, and is a miss; [`Registry::mark_synced`] flushes them, in the background.
#![forbid(unsafe_code)]

mod collect;
mod durable;
mod files;
mod lease;
mod list;
mod record;
mod store;
mod tidy;

pub use collect::{Budget, Collected};
pub use lease::Lease;
pub use list::SnapshotRecord;
pub use record::SnapshotOrigin;
pub use store::Registry;
