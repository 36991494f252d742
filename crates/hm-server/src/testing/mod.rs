//! What every implementation of the four traits must do, as suites that one calls on a fresh, empty one. A suite
//! panics when the contract is broken, and waits for events, never for a time.

mod blobs;
mod logs;
mod queue;
mod recent;
mod retention;
mod store;

pub use blobs::blobs;
pub use logs::logs;
pub use queue::queue;
pub use recent::recent;
pub use retention::retention;
pub use store::store;

use chrono::{DateTime, Utc};

/// A moment, so many seconds after a fixed one.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap_or_default()
}
