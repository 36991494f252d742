//! The plan as a typed DAG: the v0 IR, its validation and its cache keys. No I/O.
//!
//! [`PipelineGraph::parse`] reads the JSON that a pipeline program emits (a petgraph graph in its serde form),
//! validates it and indexes it. Unknown fields are ignored: whoever has to pass a plan on keeps its text. [`Envelope::parse`] reads what
//! a whole registry of pipelines renders to and hands out each plan's text byte for byte. [`keys`] says how
//! the snapshot of a step is found again.
//!
//! Every algorithm here is iterative, and linear in the plan's length up to a logarithm: a chain of
//! 100,000 steps neither overflows a stack nor takes long.
#![forbid(unsafe_code)]

mod cache;
mod envelope;
mod error;
mod graph;
mod needs;
mod parse;
mod shell;
mod step;

pub mod keys;

pub use cache::CachePolicy;
pub use envelope::{Envelope, PipelineEntry};
pub use error::PlanError;
pub use graph::PipelineGraph;
pub use keys::{Base, CacheKey, Component, KeyInputs, KeyParts, ParseCacheKeyError};
pub use needs::{
    Artifacts, CacheDirectory, CacheKeep, CollectWhen, HealthCheck, SecretDelivery, SecretUse, Service,
    ServiceScope,
};
pub use parse::{
    MAX_KEY_BYTES, MAX_NEEDS, MAX_PATTERNS, MAX_PLAN_BYTES, MAX_RETRIES, MAX_STEPS, dropped_variable,
};
pub use shell::Shell;
pub use step::{Limits, Network, Step, StepIndex, StepKey};
