//! What a build has come to: a pure fold of its events, bounded by the number of its steps, never by their output.

mod artifacts;
mod build;
mod counts;
mod services;
mod step;
mod tail;

pub use artifacts::{Artifact, Artifacts, Tests};
pub use build::BuildState;
pub use counts::Counts;
pub use hm_plugin_protocol::events::BuildEndStatus as Verdict;
pub use services::ServiceOutput;
pub use step::{Phase, Step};
pub use tail::Tail;
