//! Builds and their jobs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::{Attempt, Build, BuildState, Ending, Job, JobChange, NewBuild};
use crate::secret::SecretHash;
use crate::store::Result;
use crate::{BuildId, JobId, OrgId, PipelineId, UserId};

/// What became of the wish to cancel a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRequest {
    /// No agent had it; it is canceled.
    Canceled,
    /// Its agent has to be told.
    Canceling,
    /// It had ended, or somebody had asked before; or it is not there.
    Nothing,
}

/// Builds of a person's organizations.
#[derive(Debug, Clone)]
pub struct RecentBuilds {
    /// The person.
    pub user: UserId,
    /// Of this organization alone.
    pub org: Option<OrgId>,
    /// Of this pipeline alone.
    pub pipeline: Option<PipelineId>,
    /// In one of these states; in any, where it is empty.
    pub states: Vec<BuildState>,
    /// Older than this one.
    pub before: Option<BuildId>,
    /// At most so many.
    pub limit: u32,
}

/// Builds and their jobs.
///
/// An attempt's number is a fence: what names another attempt than the build's current one, or comes after
/// its end, changes nothing and says so.
///
/// # Errors
/// Every method fails when the store does.
#[async_trait]
pub trait Builds: Send + Sync {
    /// Adds a build and its jobs, with the pipeline's next number.
    async fn create_build(&self, build: NewBuild, now: DateTime<Utc>) -> Result<Build>;

    /// A build by number.
    async fn build(&self, pipeline: PipelineId, number: i64) -> Result<Option<Build>>;

    /// A build by id.
    async fn build_by_id(&self, id: BuildId) -> Result<Option<Build>>;

    /// A build's plan, byte for byte.
    async fn plan(&self, id: BuildId) -> Result<Option<String>>;

    /// What the runner token of the build's current attempt hashes to.
    async fn runner_hash(&self, id: BuildId) -> Result<Option<String>>;

    /// A pipeline's builds, newest first, those with a number below `before`, at most `limit`.
    async fn builds(&self, pipeline: PipelineId, before: i64, limit: u32) -> Result<Vec<Build>>;

    /// Builds of the organizations that a person is in, newest first.
    async fn recent_builds(&self, wanted: &RecentBuilds) -> Result<Vec<Build>>;

    /// A build's jobs in the plan's order.
    async fn jobs(&self, build: BuildId) -> Result<Vec<Job>>;

    /// A job.
    async fn job(&self, id: JobId) -> Result<Option<Job>>;

    /// An agent's try begins: a scheduled build runs, and its jobs start over. `false` when the build is not scheduled
    /// or has seen this attempt or a later one.
    async fn begin_attempt(&self, id: BuildId, attempt: &Attempt, now: DateTime<Utc>) -> Result<bool>;

    /// An attempt has failed through no fault of the build: it is scheduled again.
    async fn abandon_attempt(&self, id: BuildId, attempt: i64) -> Result<bool>;

    /// Notes what an attempt's events say about jobs. A job that has ended stays as it is.
    async fn change_jobs(
        &self,
        id: BuildId,
        attempt: i64,
        changes: &[JobChange],
        now: DateTime<Utc>,
    ) -> Result<bool>;

    /// Asks for a build's end.
    async fn cancel_build(&self, id: BuildId, now: DateTime<Utc>) -> Result<CancelRequest>;

    /// Ends a build that this attempt runs, once: jobs that have not ended are canceled in a canceled build and skipped in any other.
    async fn finish_build(
        &self,
        id: BuildId,
        attempt: i64,
        ending: &Ending,
        now: DateTime<Utc>,
    ) -> Result<bool>;

    /// Notes that an ended build's log has its last event.
    async fn seal_build(&self, id: BuildId) -> Result<()>;

    /// Ended builds whose log may lack its last event, at most `limit`: what a crash left.
    async fn unsealed_builds(&self, limit: u32) -> Result<Vec<Build>>;

    /// Scheduled builds, at most `limit`, those after `after`, by id. A crash may have left one that is not queued.
    async fn scheduled_builds(&self, after: Option<BuildId>, limit: u32) -> Result<Vec<Build>>;

    /// Whether this is the runner token of the build's current attempt.
    async fn is_runner(&self, id: BuildId, presented: &SecretHash) -> Result<bool> {
        let known = self.runner_hash(id).await?;
        // Both are hashes, compared as hashes are: in constant time.
        let hash = |text: &str| blake3::Hash::from_hex(text).ok();
        Ok(known.and_then(|known| Some(hash(&known)? == hash(presented.as_str())?)) == Some(true))
    }
}
