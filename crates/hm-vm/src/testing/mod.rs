//! What tests of other crates need: a contract suite for [`crate::VmBackend`] implementations, a double that
//! runs in memory, and a look at what is left on the host.

pub mod contract;
pub mod footprint;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub mod loopback;
mod memory;
mod skip;

pub use memory::{Counters, Delays, MemoryBackend};
pub use skip::{SKIPPED, skip};
