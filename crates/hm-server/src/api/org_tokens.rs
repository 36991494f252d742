//! Tokens that are good for one organization alone: its agents', and limited ones of its people.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Json, Path};
use super::tokens::expiry;
use super::{ApiError, ApiResult, Ctx, text};
use crate::auth::{Caller, Scope};
use crate::error::ErrorBody;
use crate::model::{NewToken, Role, Token, TokenKind};
use crate::secret::Secret;

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenRole {
    /// Look.
    Read,
    /// Build.
    Member,
    /// What its maker may, up to an admin.
    Admin,
    /// Run builds: for `hm agent`, and for nothing else.
    Agent,
}

/// A token of an organization, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct OrgToken {
    id: Uuid,
    description: Option<String>,
    #[schema(inline)]
    role: TokenRole,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<Token> for OrgToken {
    fn from(token: Token) -> Self {
        Self {
            id: token.id.0,
            description: token.description,
            role: match (token.kind, token.cap) {
                (TokenKind::Agent, _) => TokenRole::Agent,
                (_, Role::Read) => TokenRole::Read,
                (_, Role::Member) => TokenRole::Member,
                (_, Role::Admin | Role::Owner) => TokenRole::Admin,
            },
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// An organization's tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct OrgTokenList {
    data: Vec<OrgToken>,
}

/// Makes a token.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateOrgTokenRequest {
    /// Human label for the token.
    description: String,
    #[schema(inline)]
    role: TokenRole,
    /// Null or omitted: never, or with the key that it is made with.
    expires_at: Option<DateTime<Utc>>,
}

/// The token and its secret, which is shown only here.
#[derive(Serialize, ToSchema)]
pub(super) struct CreateOrgTokenResponse {
    /// The raw secret.
    token: String,
    org_token: OrgToken,
}

/// List an organization's tokens
#[utoipa::path(get, path = "/hm/v1/organizations/{org}/tokens", operation_id = "listOrgTokens", tag = "hm",
    params(("org" = String, Path, description = "The organization slug.")),
    responses((status = 200, description = "Its tokens", body = OrgTokenList)))]
pub(super) async fn list(state: Ctx, scope: Extension<Scope>) -> ApiResult<Answer<OrgTokenList>> {
    let tokens = state.store.tokens_of_org(scope.org.id).await?;
    Ok(Answer(OrgTokenList {
        data: tokens.into_iter().map(OrgToken::from).collect(),
    }))
}

/// Make a token for an organization
#[utoipa::path(post, path = "/hm/v1/organizations/{org}/tokens", operation_id = "createOrgToken", tag = "hm",
    params(("org" = String, Path, description = "The organization slug.")),
    request_body = CreateOrgTokenRequest,
    responses((status = 201, description = "The token and its secret", body = CreateOrgTokenResponse)))]
pub(super) async fn create(
    state: Ctx,
    scope: Extension<Scope>,
    caller: Extension<Caller>,
    Json(body): Json<CreateOrgTokenRequest>,
) -> ApiResult<(StatusCode, Answer<CreateOrgTokenResponse>)> {
    let (kind, cap) = match body.role {
        TokenRole::Agent => (TokenKind::Agent, Role::Read),
        TokenRole::Read => (TokenKind::Api, Role::Read),
        TokenRole::Member => (TokenKind::Api, Role::Member),
        TokenRole::Admin => (TokenKind::Api, Role::Admin),
    };
    let now = Utc::now();
    let secret = Secret::new(kind.as_str())?;
    let token = NewToken {
        kind,
        user: match kind {
            TokenKind::Agent => None,
            TokenKind::Api | TokenKind::Session => Some(caller.user_id()?),
        },
        org: Some(scope.org.id),
        cap,
        description: Some(text::line("description", &body.description)?),
        expires_at: expiry(body.expires_at, &caller, now)?,
        bound: None,
        made_with: None,
        hash: secret.hash(),
    };
    let token = state.store.create_token(token, now).await?;
    let answer = CreateOrgTokenResponse {
        token: secret.reveal().to_owned(),
        org_token: token.into(),
    };
    Ok((StatusCode::CREATED, Answer(answer)))
}

/// Revoke a token of an organization
#[utoipa::path(delete, path = "/hm/v1/organizations/{org}/tokens/{id}", operation_id = "revokeOrgToken", tag = "hm",
    params(("org" = String, Path, description = "The organization slug."), ("id" = String, Path, description = "The token id.")),
    responses((status = 204, description = "Revoked"),
        (status = 404, description = "No such token in this organization", body = ErrorBody)))]
pub(super) async fn revoke(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let tokens = state.store.tokens_of_org(scope.org.id).await?;
    let token = tokens.iter().find(|token| token.id.to_string() == id);
    if let Some(token) = token
        && state.store.revoke_token(token.id, Utc::now()).await?
    {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::not_found(
        "token_not_found",
        "The organization has no such token.",
    ))
}
