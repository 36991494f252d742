//! What tests of other crates need: a contract suite for [`crate::VmBackend`] implementations and a double
//! that runs in memory.

pub mod contract;
mod memory;

pub use memory::{Counters, MemoryBackend};
