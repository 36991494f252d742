//! The log of each build: records with sequence numbers, counted from 1, appended, read from any number on, and followed.
//!
//! To the bus a record is bytes. What they hold is said by [`Record`].

mod error;
mod files;
mod record;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::LogError;
pub use files::FileLogBus;
pub use record::Record;

use crate::BuildId;

/// What a [`LogBus`] answers.
pub type Result<T> = std::result::Result<T, LogError>;

/// The longest record. Events are far shorter: a line of output comes in pieces of at most 64 KiB.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// The logs of builds.
#[async_trait]
pub trait LogBus: Send + Sync {
    /// Appends records, the first of which has the number `first`, and answers the log's last number when all up to it
    /// outlive a power cut. Those that
    /// are there already are passed over, so that it is safe to send again what was not acknowledged.
    ///
    /// # Errors
    /// [`LogError::Gap`] when records are missing before `first`; when a record holds a line break or NUL, or is too long; when
    /// the log cannot be written.
    async fn append(&self, build: BuildId, first: u64, records: &[Bytes]) -> Result<u64>;

    /// The log's last number; 0 when it is empty.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn head(&self, build: BuildId) -> Result<u64>;

    /// Reads from the number `from` on.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn read(&self, build: BuildId, from: u64) -> Result<Box<dyn LogReader>>;

    /// Removes a log. Whoever reads it has what was read, and [`LogError::Removed`] after that.
    ///
    /// # Errors
    /// When it cannot be removed.
    async fn remove(&self, build: BuildId) -> Result<()>;
}

/// A place in a log.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// The next records, one at least where there is one and about `bytes` of them at most; none at the log's end.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn next(&mut self, bytes: usize) -> Result<Vec<(u64, Bytes)>>;

    /// Waits until the log goes on past what was read, or is removed.
    async fn more(&mut self);
}
