//! The embedded store: SQLite with a write-ahead log.
//!
//! One connection writes and a few read, so that no statement of this process ever finds the database busy. What changes
//! something answers when that is on the disk. The statements keep to what PostgreSQL understands too.

mod accounts;
mod builds;
mod database;
mod durable;
mod jobs;
mod pipelines;
mod retention;
pub(crate) mod row;
mod tokens;

pub use database::Database;

/// A [`crate::store::Store`] on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// A store on this database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}
