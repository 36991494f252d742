//! The trait that every way of running a build implements.

use async_trait::async_trait;

use crate::{BackendHandle, Capabilities, Result, RunRequest};

/// Something that can run a whole build.
#[async_trait]
pub trait ExecutionBackend: Send + Sync {
    /// A stable id for diagnostics: `local-sandbox`, `local-docker`, `cloud`.
    fn name(&self) -> &str;

    /// What this backend can honour, asked before [`ExecutionBackend::start`] so that a flag it cannot
    /// honour is refused and not ignored.
    fn capabilities(&self) -> Capabilities;

    /// Starts a build and returns as soon as it is under way.
    ///
    /// # Errors
    /// Set-up failures: no daemon, a bad plan, an image that is not there, no login. A build that *fails* is
    /// an `Ok` handle whose outcome says [`crate::BuildStatus::Failed`].
    async fn start(&self, request: RunRequest) -> Result<BackendHandle>;
}
