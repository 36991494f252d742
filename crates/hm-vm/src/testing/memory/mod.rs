//! A [`crate::VmBackend`] without machines: it interprets a strict subset of `sh` on files in memory, so that
//! what a scheduler does can be tested anywhere, quickly, and under paused time.

mod backend;
mod machine;
mod script;
#[cfg(test)]
mod tests;

pub use backend::{Counters, MemoryBackend};
