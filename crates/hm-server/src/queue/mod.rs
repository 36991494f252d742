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
mod waiters;

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
    /// The moment of the request.
    pub now: DateTime<Utc>,
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
    /// How many agents were lost with it before, or could not run it.
    pub losses: u32,
    /// How often it was given back without that.
    pub returns: u32,
    /// Who has it.
    pub agent: String,
    /// Until when, unless that is extended.
    pub until: DateTime<Utc>,
}

/// A build that waits for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What an agent must have to take it.
    pub labels: BTreeSet<String>,
    /// How many builds of the organization wait for longer.
    pub ahead: u64,
}

/// Which builds wait for an agent, and who has which. Moments are passed in, so that nothing here has a clock: those of leases
/// and pauses are of a clock that never jumps while the server runs.
///
/// # Errors
/// Every method fails when the queue cannot be reached.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds a build. One that is there already stays as it is.
    async fn enqueue(&self, item: NewItem, now: DateTime<Utc>) -> Result<()>;

    /// Hands out the longest waiting build of the organization whose labels the agent has.
    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>>;

    /// Changes whenever a build may have begun to wait that an agent of the organization with these labels may take.
    fn arrivals(&self, org: OrgId, labels: &BTreeSet<String>) -> watch::Receiver<u64>;

    /// Holds a lease until a later moment. `false` when it is lost.
    async fn extend(&self, fence: Fence, until: DateTime<Utc>) -> Result<bool>;

    /// Holds every lease until this moment, and lets every build be taken that waits: for when nobody could extend a lease, or the
    /// moments of before mean nothing any more.
    async fn renew_all(&self, until: DateTime<Utc>) -> Result<()>;

    /// A lease, whether or not it has run out; nothing once it is lost.
    async fn leased(&self, fence: Fence) -> Result<Option<Lease>>;

    /// A build that nobody has.
    async fn waiting(&self, build: BuildId) -> Result<Option<Waiting>>;

    /// What builds want that have waited since this moment, as long as nobody asked for them by [`Queue::note`].
    async fn wanted(&self, since: DateTime<Utc>) -> Result<Vec<(OrgId, BTreeSet<String>)>>;

    /// The builds of one answer of [`Queue::wanted`], each once, at most `limit`.
    async fn note(
        &self,
        org: OrgId,
        labels: &BTreeSet<String>,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<BuildId>>;

    /// Takes a leased build off the queue, for good. `true` exactly once.
    async fn complete(&self, fence: Fence) -> Result<bool>;

    /// Gives a leased build back, through no fault of anybody. It may be taken from `ready` on.
    async fn release(&self, fence: Fence, ready: DateTime<Utc>) -> Result<bool>;

    /// Puts a leased build back because its agent was lost, or could not run it. It may be taken from `ready` on.
    async fn requeue(&self, fence: Fence, ready: DateTime<Utc>) -> Result<bool>;

    /// Wakes who waits for a build that was put back for a while which is over.
    async fn wake(&self, now: DateTime<Utc>) -> Result<()>;

    /// Takes a waiting build off the queue. `false` when it is leased or not there.
    async fn remove(&self, build: BuildId) -> Result<bool>;

    /// Leases that were not extended in time, oldest first, at most `limit`. They stay as they are, and whoever holds one
    /// may still extend it, until they are put back or completed.
    async fn expired(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Lease>>;
}
