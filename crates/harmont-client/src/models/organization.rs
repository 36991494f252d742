//! Organizations, their members and their pipelines.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but to remove the organization.
    Admin,
    /// To build.
    Member,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        })
    }
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Organization {
    /// Its name in URLs.
    pub slug: String,
    /// What to call it.
    pub name: String,
    /// Its website.
    pub url: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An organization to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewOrganization {
    /// What to call it; the slug follows from it.
    pub name: String,
    /// Its website.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Identifies the user.
    pub user_uuid: Uuid,
    /// The address.
    pub email: String,
    /// What to call the user.
    pub name: Option<String>,
    /// What the member may do.
    pub role: Role,
}

/// An invitation to an organization.
#[derive(Debug, Clone, Deserialize)]
pub struct Invite {
    /// Identifies it.
    pub id: Uuid,
    /// Who is invited.
    pub email: String,
    /// As what.
    pub role: Role,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// What accepts it: told once.
    pub token: Option<secrecy::SecretString>,
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pipeline {
    /// Its name in URLs, unique in the organization.
    pub slug: String,
    /// What to call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The repository that it builds.
    pub repository: String,
    /// The repository as `owner/repo`.
    pub repo_name: Option<String>,
    /// The branch that is built unless one is named.
    pub default_branch: String,
    /// Whether a person may start it.
    pub allow_manual: bool,
    /// `private` or `public`.
    pub visibility: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A pipeline to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewPipeline {
    /// What to call it; the slug follows from it.
    pub name: String,
    /// The repository that it builds.
    pub repository: String,
    /// The branch that is built unless one is named.
    pub default_branch: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The repository as `owner/repo`, where that does not follow from `repository`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_name: Option<String>,
}
