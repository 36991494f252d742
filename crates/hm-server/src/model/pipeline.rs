//! Pipelines.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{OrgId, PipelineId};

/// Who may see a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// The organization's members.
    Private,
    /// Everybody.
    Public,
}

/// A repeatable workflow of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Identifies the pipeline.
    pub id: PipelineId,
    /// Whose it is.
    pub org: OrgId,
    /// Unique within the organization; stands in URLs.
    pub slug: String,
    /// What to call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where its source lives.
    pub repository: String,
    /// The same as `owner/repo`.
    pub repo_name: Option<String>,
    /// The branch that is built unless another is named.
    pub default_branch: String,
    /// Whether people may start builds themselves.
    pub allow_manual: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A pipeline to be.
#[derive(Debug, Clone)]
pub struct NewPipeline {
    /// Whose it is.
    pub org: OrgId,
    /// Unique within the organization.
    pub slug: String,
    /// What to call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where its source lives.
    pub repository: String,
    /// The same as `owner/repo`.
    pub repo_name: Option<String>,
    /// The branch that is built unless another is named.
    pub default_branch: String,
    /// Whether people may start builds themselves.
    pub allow_manual: bool,
}
