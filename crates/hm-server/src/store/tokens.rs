//! Tokens, and logins under way.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::{Login, LoginKind, NewLogin, NewToken, Token};
use crate::secret::SecretHash;
use crate::store::Result;
use crate::{OrgId, TokenId, UserId};

/// Tokens, and logins under way.
///
/// # Errors
/// Every method fails when the store does.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Adds a token.
    async fn create_token(&self, token: NewToken, now: DateTime<Utc>) -> Result<Token>;

    /// A token by its secret, void ones too.
    async fn token(&self, hash: &SecretHash) -> Result<Option<Token>>;

    /// The keys that a person made and that are not revoked, in the order of making.
    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<Token>>;

    /// The tokens that are good for one organization alone and are not revoked, in the order of making.
    async fn tokens_of_org(&self, org: OrgId) -> Result<Vec<Token>>;

    /// Notes that a token was used.
    async fn touch_token(&self, id: TokenId, now: DateTime<Utc>) -> Result<()>;

    /// Revokes a token, and what says that it was made with it. `false` when it is revoked already or not there.
    async fn revoke_token(&self, id: TokenId, now: DateTime<Utc>) -> Result<bool>;

    /// Adds a login under way. One under the same code is replaced.
    async fn create_login(&self, login: NewLogin) -> Result<()>;

    /// Uses a living login up.
    async fn take_login(
        &self,
        kind: LoginKind,
        hash: &SecretHash,
        now: DateTime<Utc>,
    ) -> Result<Option<Login>>;
}
