//! What every request sees.

mod agents;
mod clock;
mod live;

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use crate::blobs::Blobs;
use crate::config::ServerConfig;
use crate::logs::LogBus;
use crate::parsing::Parsing;
use crate::queue::Queue;
use crate::rates::RateLimits;
use crate::signing::Signer;
use crate::store::Store;

pub(crate) use agents::{Agents, explained};
pub(crate) use clock::Clock;
pub(crate) use live::LiveBuilds;

/// What every request sees.
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) logs: Arc<dyn LogBus>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) signer: Signer,
    pub(crate) rates: RateLimits,
    pub(crate) live: LiveBuilds,
    /// What submissions wait for.
    pub(crate) parsing: Parsing,
    /// Who has asked for builds.
    pub(crate) agents: Agents,
    /// What leases are of.
    pub(crate) clock: Clock,
    /// Ends what would otherwise wait for long: streams and polls.
    pub(crate) stopping: CancellationToken,
    /// Made with the routes, or when it is asked for before them.
    pub(crate) document: OnceLock<OpenApi>,
}
