//! A person's API keys.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Json, Path};
use super::{ApiError, ApiResult, Ctx, text};
use crate::auth::Caller;
use crate::error::ErrorBody;
use crate::model::{NewToken, Role, Token, TokenKind};
use crate::secret::Secret;

/// A personal API key. The secret is returned only once, at creation.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiToken {
    /// Of version 1 of the published API: what it is limited to, which is nothing.
    #[schema(ignore)]
    scopes: [String; 0],
    /// Stable key id.
    id: Uuid,
    /// Human label for the key.
    description: Option<String>,
    /// When the key was created.
    created_at: DateTime<Utc>,
    /// When the key expires, or null if it never expires.
    expires_at: Option<DateTime<Utc>>,
    /// When the key was last used to authenticate, if ever.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<Token> for ApiToken {
    fn from(token: Token) -> Self {
        Self {
            scopes: [],
            id: token.id.0,
            description: token.description,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// Every personal API key belonging to the current user.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiTokenListResponse {
    /// The user's personal API keys.
    api_tokens: Vec<ApiToken>,
    /// The same under the name that version 1 of the published API has for it.
    #[schema(ignore)]
    data: Vec<ApiToken>,
}

/// Creates a personal API key.
#[derive(Deserialize, ToSchema)]
pub(super) struct ApiTokenCreateRequest {
    /// Human label for the key.
    description: String,
    /// Optional expiry; null or omitted means the key never expires, or with the key that it is made with.
    expires_at: Option<DateTime<Utc>>,
    /// Of version 1 of the published API: what the key is to be limited to.
    #[schema(ignore)]
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

/// The created key and its raw secret. The secret is shown only here, once.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiTokenCreateResponse {
    /// The raw API key secret. Store it now; it is never shown again.
    token: String,
    api_token: ApiToken,
}

/// The end of a token that somebody makes: a moment that has not passed, and none after the end of what it is made with.
pub(super) fn expiry(
    at: Option<DateTime<Utc>>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> ApiResult<Option<DateTime<Utc>>> {
    match (at, caller.token.bound()) {
        (Some(at), _) if at <= now => Err(ApiError::invalid("invalid_request", "`expires_at` has passed.")),
        (Some(at), Some(bound)) if at > bound => {
            let message = format!(
                "The token that you use ends at {}, and what is made with it ends with it. Ask for an earlier `expires_at`.",
                bound.to_rfc3339()
            );
            Err(ApiError::invalid("expires_too_late", message))
        }
        (None, bound) => Ok(bound),
        (at, _) => Ok(at),
    }
}

/// List the current user's API keys
#[utoipa::path(get, path = "/api/v0/user/api-tokens", operation_id = "listApiTokens", tag = "user",
    responses((status = 200, description = "The user's API keys", body = ApiTokenListResponse)))]
pub(super) async fn list(state: Ctx, caller: Extension<Caller>) -> ApiResult<Answer<ApiTokenListResponse>> {
    let tokens = state.store.api_tokens_of(caller.user_id()?).await?;
    let listed = || tokens.iter().cloned().map(ApiToken::from).collect();
    Ok(Answer(ApiTokenListResponse {
        api_tokens: listed(),
        data: listed(),
    }))
}

/// Create a personal API key
#[utoipa::path(post, path = "/api/v0/user/api-tokens", operation_id = "createApiToken", tag = "user",
    request_body = ApiTokenCreateRequest,
    responses((status = 201, description = "The created key and its one-time secret", body = ApiTokenCreateResponse)))]
pub(super) async fn create(
    state: Ctx,
    caller: Extension<Caller>,
    Json(body): Json<ApiTokenCreateRequest>,
) -> ApiResult<(StatusCode, Answer<ApiTokenCreateResponse>)> {
    // A key that may do more than was asked for is worse than none.
    if body.scopes.is_some_and(|scopes| !scopes.is_empty()) {
        return Err(ApiError::invalid(
            "scopes_unsupported",
            "This server's personal keys have no scopes. Leave `scopes` out, or make a token of one organization with a role.",
        ));
    }
    let now = Utc::now();
    let secret = Secret::new(TokenKind::Api.as_str())?;
    let token = NewToken {
        kind: TokenKind::Api,
        user: Some(caller.user_id()?),
        org: None,
        cap: Role::Owner,
        description: Some(text::line("description", &body.description)?),
        expires_at: expiry(body.expires_at, &caller, now)?,
        bound: None,
        made_with: None,
        hash: secret.hash(),
    };
    let token = state.store.create_token(token, now).await?;
    let answer = ApiTokenCreateResponse {
        token: secret.reveal().to_owned(),
        api_token: token.into(),
    };
    Ok((StatusCode::CREATED, Answer(answer)))
}

/// Revoke one of the current user's API keys
#[utoipa::path(delete, path = "/api/v0/user/api-tokens/{id}", operation_id = "revokeApiToken", tag = "user",
    params(("id" = String, Path, description = "The API key id.")),
    responses((status = 204, description = "Key revoked"),
        (status = 404, description = "No such key for this user", body = ErrorBody)))]
pub(super) async fn revoke(
    state: Ctx,
    caller: Extension<Caller>,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let tokens = state.store.api_tokens_of(caller.user_id()?).await?;
    let token = tokens.iter().find(|token| token.id.to_string() == id);
    if let Some(token) = token
        && state.store.revoke_token(token.id, Utc::now()).await?
    {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::not_found(
        "api_token_not_found",
        "You have no API key of this id.",
    ))
}
