//! Who asks.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use chrono::{TimeDelta, Utc};

use crate::error::ApiError;
use crate::model::{Build, Job, Organization, Role, Token, TokenKind, User};
use crate::secret::{Secret, SecretHash};
use crate::state::App;
use crate::{OrgId, UserId};

/// How stale a token's last use may be.
const TOUCH: TimeDelta = TimeDelta::seconds(60);
/// How often it is asked whether a stream may go on.
const CHECK: std::time::Duration = std::time::Duration::from_secs(5);

/// The bearer of a good token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) token: Token,
    /// By which the token is found again.
    hash: SecretHash,
}

/// The organization that a path names, and what the caller may do there.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) org: Organization,
    pub(crate) role: Role,
}

/// What a watcher watches.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) build: Build,
    pub(crate) job: Option<Job>,
    /// Who watches; nobody where a log token says it all, which is good for its hour.
    pub(crate) by: Option<Caller>,
}

/// The secret that a request presents.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Secret::presented(secret.trim()))
}

impl Caller {
    /// The bearer, when the token is good.
    pub(crate) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        match bearer(headers) {
            Some(secret) => Self::with(app, &secret).await,
            None => Ok(None),
        }
    }

    /// Whoever has this secret, when it is good.
    pub(crate) async fn with(app: &App, secret: &Secret) -> Result<Option<Self>, ApiError> {
        let now = Utc::now();
        let hash = secret.hash();
        let token = app.store.token(&hash).await?;
        let Some(token) = token.filter(|token| token.is_valid(now)) else {
            return Ok(None);
        };
        if token.last_used_at.is_none_or(|last| now - last >= TOUCH) {
            app.store.touch_token(token.id, now).await?;
        }
        Ok(Some(Self { token, hash }))
    }

    /// The person's id; agents are nobody.
    pub(crate) fn user_id(&self) -> Result<UserId, ApiError> {
        match (self.token.kind, self.token.user) {
            (TokenKind::Session | TokenKind::Api, Some(user)) => Ok(user),
            _ => Err(ApiError::forbidden(
                "agent_token",
                "An agent's token opens the agents' routes alone.",
            )),
        }
    }

    /// The person.
    pub(crate) async fn user(&self, app: &App) -> Result<User, ApiError> {
        let user = app.store.user(self.user_id()?).await?;
        user.ok_or_else(ApiError::unauthorized)
    }

    /// Ends when the caller may not see anything of the organization any more: a stream must not outlive what it was opened with.
    pub(crate) async fn shut_out(&self, app: &App, org: OrgId) {
        loop {
            tokio::time::sleep(CHECK).await;
            let known = match app.store.token(&self.hash).await {
                Ok(token) => token.filter(|token| token.is_valid(Utc::now())),
                // Whoever cannot be asked about is not thrown out.
                Err(_) => continue,
            };
            let Some(token) = known else { return };
            let hash = self.hash.clone();
            if matches!(Self { token, hash }.role(app, org).await, Ok(None)) {
                return;
            }
        }
    }

    /// What the caller may do in an organization.
    pub(crate) async fn role(&self, app: &App, org: OrgId) -> Result<Option<Role>, ApiError> {
        let user = self.user_id()?;
        if self.token.org.is_some_and(|only| only != org) {
            return Ok(None);
        }
        let role = app.store.role(org, user).await?;
        Ok(role.map(|role| role.min(self.token.cap)))
    }
}
