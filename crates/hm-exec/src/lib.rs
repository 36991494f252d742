//! Pluggable CI execution backends for `hm run`.
//!
//! The pluggable boundary is the **whole build**, not a single step: [`ExecutionBackend::start`] takes a
//! [`RunRequest`] and returns a [`BackendHandle`], which [`BackendHandle::into_parts`] splits into an
//! [`EventStream`] for a renderer and a [`Control`] for whoever cancels and waits.
//!
//! This crate never reads credentials, never prints, and never reads the environment.
#![forbid(unsafe_code)]

mod announce;
mod backend;
mod capabilities;
mod error;
mod freeze;
mod handle;
mod outcome;
mod request;

pub mod cloud;
pub mod local;
#[cfg(feature = "testing")]
pub mod testing;

pub use backend::ExecutionBackend;
pub use capabilities::Capabilities;
pub use cloud::{CloudBackend, CloudConfig};
pub use error::{BackendError, Result};
pub use handle::{BackendHandle, Control, EventStream};
pub use hm_plugin_protocol::events::BuildRef;
pub use local::LocalBackend;
pub use outcome::{BuildOutcome, BuildStatus, StepResultSummary, StepStatus};
pub use request::{Plan, Resume, RunOptions, RunRequest, SOURCE_VARIABLES, SourceMeta};
