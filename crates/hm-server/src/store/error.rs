//! Why a store could not do what it was asked.

use std::error::Error;

/// What a [`crate::store::Store`] answers.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something that must be unique is there already.
    #[error("{0} is taken already")]
    Taken(&'static str),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Box<dyn Error + Send + Sync>),
    /// A row holds what this version cannot read.
    #[error("the database holds a {0} that cannot be read; was it written by a newer version?")]
    Damaged(&'static str),
}
