//! What the sandbox is told and what it tells: the same where there is one and where there is none.

mod config;
mod finding;
mod stats;

pub use config::{PASSED_VARIABLES, Passing, SandboxConfig};
pub use finding::{Finding, Status};
pub use stats::Stats;
