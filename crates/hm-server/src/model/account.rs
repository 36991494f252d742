//! People and organizations.

use chrono::{DateTime, Utc};

use crate::model::Role;
use crate::secret::SecretHash;
use crate::{InviteId, OrgId, UserId};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Identifies the person.
    pub id: UserId,
    /// Unique, in lower case.
    pub email: String,
    /// What to call the person.
    pub name: Option<String>,
    /// The slug of the person's own organization.
    pub personal_org: Option<String>,
}

/// A person to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Unique, in lower case.
    pub email: String,
    /// What to call the person.
    pub name: Option<String>,
    /// The slug of the person's own organization.
    pub personal_org: Option<String>,
}

/// People who share pipelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Identifies the organization.
    pub id: OrgId,
    /// Unique; stands in URLs.
    pub slug: String,
    /// What to call it.
    pub name: String,
    /// Its website.
    pub url: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An organization to be.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    /// Unique; stands in URLs.
    pub slug: String,
    /// What to call it.
    pub name: String,
    /// Its website.
    pub url: Option<String>,
    /// Its first owner.
    pub owner: UserId,
}

/// A person in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The person.
    pub user: User,
    /// What the person may do there.
    pub role: Role,
}

/// An invitation into an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Identifies the invite.
    pub id: InviteId,
    /// The organization.
    pub org: OrgId,
    /// Who is invited, in lower case.
    pub email: String,
    /// What that person may do there.
    pub role: Role,
    /// From when on it is void.
    pub expires_at: DateTime<Utc>,
}

/// An invitation to be.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// The organization.
    pub org: OrgId,
    /// Who is invited, in lower case.
    pub email: String,
    /// What that person may do there.
    pub role: Role,
    /// What the invite's token hashes to.
    pub hash: SecretHash,
    /// From when on it is void.
    pub expires_at: DateTime<Utc>,
}
