//! Which builds wait for an agent, and who has which.
//!
//! ```text
//!            enqueue            lease (attempt + 1)
//!   (absent) -------> waiting ---------------------> leased --- complete ---> (absent)
//!                     |  ^ ^                          |  | ^
//!                     |  | +--- release (no fault) ---+  | +-- extend
//!              remove |  +----- requeue (a loss) --------+
//!                     v
//!                  (absent)
//! ```
//!
//! A queue delivers at least once and never to two holders of the same [`Fence`]: each lease has a larger attempt
//! number than the ones before it, and what comes with an old number is refused. That a build ends once is decided by the
//! [`crate::store::Store`], by the same number.

mod sqlite;

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

pub use sqlite::SqliteQueue;

use crate::store::StoreError;
use crate::{BuildId, OrgId};

/// What a [`Queue`] answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A build that wants an agent.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// The build.
    pub build: BuildId,
    /// Whose agents may take it.
    pub org: OrgId,
    /// What an agent must have to take it.
    pub labels: BTreeSet<String>,
}

/// An agent that wants a build.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// Whose agent it is.
    pub org: OrgId,
    /// What it calls itself.
    pub agent: String,
    /// What it has.
    pub labels: BTreeSet<String>,
    /// Until when it holds what it gets, unless it extends that.
    pub until: DateTime<Utc>,
}

/// Which try at which build. It is good for as long as no later one was leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The build.
    pub build: BuildId,
    /// Counted from 1.
    pub attempt: i64,
}

/// A build in an agent's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Proves that it is held.
    pub fence: Fence,
    /// How many agents were lost with it before.
    pub losses: u32,
    /// Who has it.
    pub agent: String,
}

/// Which builds wait for an agent, and who has which. Moments are passed in, so that nothing here has a clock.
///
/// # Errors
/// Every method fails when the queue cannot be reached.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds a build. One that is there already stays as it is.
    async fn enqueue(&self, item: NewItem, now: DateTime<Utc>) -> Result<()>;

    /// Hands out the longest waiting build of the organization whose labels the agent has.
    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>>;

    /// Changes whenever a build may have begun to wait.
    fn arrivals(&self) -> watch::Receiver<u64>;

    /// Holds a lease until a later moment. `false` when it is lost.
    async fn extend(&self, fence: Fence, until: DateTime<Utc>) -> Result<bool>;

    /// Holds every lease until this moment at least: for when nobody could extend any.
    async fn extend_all(&self, until: DateTime<Utc>) -> Result<()>;

    /// Takes a leased build off the queue, for good. `true` exactly once.
    async fn complete(&self, fence: Fence) -> Result<bool>;

    /// Gives a leased build back, through no fault of anybody.
    async fn release(&self, fence: Fence) -> Result<bool>;

    /// Puts a leased build back because its agent was lost.
    async fn requeue(&self, fence: Fence) -> Result<bool>;

    /// Takes a waiting build off the queue. `false` when it is leased or not there.
    async fn remove(&self, build: BuildId) -> Result<bool>;

    /// Leases that were not extended in time, oldest first, at most `limit`. They stay as they are, and whoever holds one
    /// may still extend it, until they are put back or completed.
    async fn expired(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Lease>>;
}
