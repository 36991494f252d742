//! What a build has come to: a pure fold of its events, bounded by the number of its steps, never by their output.

mod build;
mod step;
mod tail;

pub use build::{BuildState, Counts, Verdict};
pub use step::{Phase, Step};
pub use tail::Tail;
