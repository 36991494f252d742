//! What tests of other crates need: a contract suite for [`crate::VmBackend`] implementations, a double that
//! runs in memory, and a look at what is left on the host.

pub mod contract;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub mod dockerd;
pub mod footprint;
mod memory;

pub use memory::{Counters, MemoryBackend};
