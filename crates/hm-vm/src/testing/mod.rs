//! What tests of other crates need: a contract suite for [`crate::VmBackend`] implementations, a double that
//! runs in memory, and a look at what is left on the host.

pub mod contract;
pub mod footprint;
mod memory;

pub use memory::{Counters, MemoryBackend};
