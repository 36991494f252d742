//! What the server remembers: people, organizations, tokens, pipelines, builds and jobs.
//!
//! [`Store`] is what an implementation gives; [`SqliteStore`] is the embedded one. Everything that must happen
//! once (a build's number, its end, the use of a login code) is decided here, by one statement or transaction,
//! so that several servers may share a store.

mod accounts;
mod builds;
mod error;
mod pipelines;
mod retention;
mod sqlite;
mod tokens;

pub use accounts::{Accounts, MemberChange};
pub use builds::{Builds, CancelRequest, RecentBuilds};
pub use error::{Result, StoreError};
pub use pipelines::Pipelines;
pub use retention::{Kept, Retention};
pub(crate) use sqlite::row;
pub use sqlite::{Database, SqliteStore};
pub use tokens::Tokens;

/// Everything that the server remembers.
pub trait Store: Accounts + Tokens + Pipelines + Builds + Retention {}

impl<T: Accounts + Tokens + Pipelines + Builds + Retention> Store for T {}
