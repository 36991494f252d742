//! Who asks.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The user that a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CurrentUser {
    /// Identifies the user.
    pub uuid: Uuid,
    /// The address.
    pub email: String,
    /// What to call the user.
    pub name: Option<String>,
    /// The user's own organization.
    pub personal_org_slug: Option<String>,
}

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiToken {
    /// Identifies it.
    pub id: Uuid,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it is good; `None` is for ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// An API token to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewApiToken {
    /// What it is for.
    pub description: String,
    /// Until when it is good; `None` is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API token that has just been made.
#[derive(Debug, Clone, Deserialize)]
pub struct CreatedApiToken {
    /// The token without its secret.
    pub api_token: ApiToken,
    /// The secret: told this once.
    pub token: SecretString,
}
