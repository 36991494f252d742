//! An agent: takes builds from a server and runs them on its own machine.
//!
//! ```text
//! runner    asks for builds, as many at a time as it may run
//! build     one build: the source, the run, its end
//! source    the source archive, fetched, checked and unpacked
//! telling   the build's events, in batches, until they are acknowledged
//! secrets   what the agent has of the secrets that the plan names
//! holding   the lease, held while the build runs
//! ```
//!
//! An agent never says how a build ended before all its events are kept, and stops a build that is not its own any more.

mod build;
mod holding;
mod runner;
mod source;
mod telling;
mod secrets;

pub use runner::{Agent, AgentConfig, AgentError};
pub use secrets::{GivenSecrets, SecretProvider};
