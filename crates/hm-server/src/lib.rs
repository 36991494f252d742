//! The cloud of hm in one process: the REST API, the agents' API, and what is behind them. It runs no build: agents do.
//!
//! Four narrow traits keep the server's state, each with an embedded implementation beside it, so that nothing
//! else has to be installed: [`store::Store`], [`queue::Queue`], [`logs::LogBus`] and [`blobs::Blobs`].
#![forbid(unsafe_code)]

mod api;
mod auth;
mod build;
mod config;
mod connections;
mod dashboard;
mod error;
mod ids;
mod parsing;
mod rates;
mod secret;
mod server;
mod signing;
mod state;

pub mod blobs;
pub mod logs;
pub mod model;
pub mod queue;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use config::{AgentRules, Keep, Limits, Patience, Rate, Rates, ServerConfig};
pub use ids::{BuildId, InviteId, JobId, OrgId, PipelineId, TokenId, UserId};
pub use secret::{NoRandomness, Secret, SecretHash};
pub use server::{Server, ServerError};
pub use signing::SigningError;
