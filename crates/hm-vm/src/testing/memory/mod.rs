//! A [`crate::VmBackend`] without machines: it interprets a strict subset of `sh` on files in memory, so that
//! what a scheduler does can be tested anywhere, quickly, and under paused time.

mod backend;
mod export;
mod machine;
mod pods;
mod script;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod view;

pub use state::{Counters, Delays, MemoryBackend};
