//! What runs a build: the sandbox or a Docker-compatible engine, chosen and told what they need to know.

mod choice;
mod elsewhere;
mod engine;
mod machines;
mod runner;
mod settings;

pub use elsewhere::{artifact_bytes, leave_what_is_of_here};
pub use engine::find_engine;
pub use machines::Machines;
pub use runner::Runner;
pub use settings::{docker_config, sandbox_config, sources};
