//! Pipelines.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::{NewPipeline, Pipeline};
use crate::store::Result;
use crate::{OrgId, PipelineId};

/// Pipelines.
///
/// # Errors
/// Every method fails when the store does.
#[async_trait]
pub trait Pipelines: Send + Sync {
    /// Adds a pipeline; its slug must be new in the organization.
    async fn create_pipeline(&self, pipeline: NewPipeline, now: DateTime<Utc>) -> Result<Pipeline>;

    /// A pipeline by slug.
    async fn pipeline(&self, org: OrgId, slug: &str) -> Result<Option<Pipeline>>;

    /// A pipeline by id.
    async fn pipeline_by_id(&self, id: PipelineId) -> Result<Option<Pipeline>>;

    /// The pipeline of a repository whose slug or name this is.
    async fn pipeline_of_source(&self, org: OrgId, repo_name: &str, source: &str)
    -> Result<Option<Pipeline>>;

    /// An organization's pipelines by slug, those after `after`, at most `limit`.
    async fn pipelines(&self, org: OrgId, after: &str, limit: u32) -> Result<Vec<Pipeline>>;
}
