//! Cache directories: they outlive machines and are in no snapshot.
//!
//! A command gets a copy-on-write overlay over the *generation* that was current when it began. When it passes and has
//! written something, that is merged with what is current by then into a new generation, by hard links: so commands at
//! once never wait for each other, and what each wrote is kept, the last one's where two wrote the same file.
//!
//! ```text
//! caches/NAME/lock          shared to begin with a generation, exclusive to exchange it; its time is the last use
//! caches/NAME/current       the current generation's name
//! caches/NAME/g/ID/lease    locked, shared, by the commands that see it
//! caches/NAME/g/ID/files    what they see
//! ```
//!
//! A generation is renamed into place before `current` names it: a process may be killed at any moment, and what it
//! leaves is a generation that nothing names.

mod generation;
mod store;
mod view;

pub(super) use store::CacheStore;
pub(super) use view::{CacheOverlay, CacheViews};
