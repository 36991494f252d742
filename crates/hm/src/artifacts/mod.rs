//! What hm does with the artifacts that runs have made: copies them out, and removes those that nobody names any more.

mod copy;
mod sweep;

pub use copy::copy_out;
pub use sweep::{sweep, sweep_now_and_then};
