//! Work that blocks, away from the threads that everybody shares.

use crate::{Result, VmError};

/// Runs work that blocks, and waits for it.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| VmError::Other(format!("a background task failed: {error}")))?
}
