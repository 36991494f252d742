//! An agent: takes builds from a server and runs them on its own machine.
//!
//! ```text
//! runner    asks for builds, as many at a time as it may run
//! build     one build: the source, the run, its end
//! options   how it runs, as its submitter asked for it
//! source    the source archive, fetched, checked and unpacked
//! secrets   what the agent has of the secrets that the plan names
//! telling   the build's events, in batches, until they are acknowledged
//! holding   the lease, held while the build runs
//! ```
//!
//! An agent never says how a build ended before all its events are kept, and stops a build that is not its own any more.

#![forbid(unsafe_code)]

mod build;
mod holding;
mod options;
mod runner;
mod secrets;
mod source;
mod telling;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The pauses between tries to reach the server, without an end. Agents that lost it in one moment do not all come back in one.
fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
        .build()
}

/// Rests before the next try.
async fn rest(pauses: &mut (impl Iterator<Item = Duration> + Send)) {
    if let Some(pause) = pauses.next() {
        tokio::time::sleep(pause).await;
    }
}

pub use runner::{Agent, AgentConfig, AgentError};
pub use secrets::{GivenSecrets, SecretProvider};
