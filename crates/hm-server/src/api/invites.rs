//! Inviting people into an organization.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Json, Path};
use super::organizations::Organization;
use super::{ApiError, ApiResult, Ctx, login, text};
use crate::UserId;
use crate::auth::{Caller, Scope};
use crate::error::ErrorBody;
use crate::model::{self, Login, NewInvite, NewUser, Role};
use crate::secret::Secret;
use crate::state::App;
use crate::store::StoreError;

/// How long an invite is good.
const INVITE: TimeDelta = TimeDelta::days(7);

/// What an invited person may do.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum InviteRole {
    Admin,
    Member,
}

/// An invitation.
#[derive(Serialize, ToSchema)]
pub(super) struct Invite {
    id: Uuid,
    email: String,
    #[schema(inline)]
    role: InviteRole,
    expires_at: DateTime<Utc>,
    token: Option<String>,
}

impl Invite {
    fn new(invite: model::Invite, token: Option<&Secret>) -> Self {
        Self {
            id: invite.id.0,
            email: invite.email,
            role: match invite.role {
                Role::Admin | Role::Owner => InviteRole::Admin,
                Role::Member | Role::Read => InviteRole::Member,
            },
            expires_at: invite.expires_at,
            token: token.map(|token| token.reveal().to_owned()),
        }
    }
}

/// Pending invites.
#[derive(Serialize, ToSchema)]
pub(super) struct InviteList {
    data: Vec<Invite>,
}

/// Invites an email.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateInviteRequest {
    email: String,
    #[schema(inline)]
    role: InviteRole,
}

/// Accepts an invite.
#[derive(Deserialize, ToSchema)]
pub(super) struct AcceptInviteRequest {
    token: String,
}

/// Accepts an invite as somebody who has no account yet.
#[derive(Deserialize, ToSchema)]
pub(super) struct JoinRequest {
    /// The invite's token.
    token: String,
    /// What to call the new user.
    name: Option<String>,
}

/// A new account and its first session.
#[derive(Serialize, ToSchema)]
pub(super) struct JoinResponse {
    /// The raw session bearer token.
    token: String,
    organization: Organization,
}

fn void() -> ApiError {
    ApiError::invalid(
        "invalid_invite",
        "This invite is wrong, used up, revoked or expired. Ask for a new one.",
    )
}

async fn accepted(app: &App, invite: &model::Invite, user: UserId) -> ApiResult<Organization> {
    if !app.store.accept_invite(invite.id, user, Utc::now()).await? {
        return Err(void());
    }
    let org = app.store.organization_by_id(invite.org).await?;
    org.map(Organization::from).ok_or_else(void)
}

/// List pending invites
#[utoipa::path(get, path = "/api/v0/organizations/{org}/invites", operation_id = "listInvites", tag = "organizations",
    params(("org" = String, Path, description = "")),
    responses((status = 200, description = "Invites", body = InviteList)))]
pub(super) async fn list(state: Ctx, scope: Extension<Scope>) -> ApiResult<Answer<InviteList>> {
    let invites = state.store.invites(scope.org.id, Utc::now()).await?;
    Ok(Answer(InviteList {
        data: invites
            .into_iter()
            .map(|invite| Invite::new(invite, None))
            .collect(),
    }))
}

/// Invite an email to the organization
#[utoipa::path(post, path = "/api/v0/organizations/{org}/invites", operation_id = "createInvite", tag = "organizations",
    params(("org" = String, Path, description = "")),
    request_body = CreateInviteRequest,
    responses((status = 201, description = "The created invite (with token)", body = Invite),
        (status = 403, description = "Insufficient role", body = ErrorBody),
        (status = 422, description = "Invalid or duplicate invite", body = ErrorBody)))]
pub(super) async fn create(
    state: Ctx,
    scope: Extension<Scope>,
    Json(body): Json<CreateInviteRequest>,
) -> ApiResult<(StatusCode, Answer<Invite>)> {
    let email = text::email(&body.email)?;
    if let Some(user) = state.store.user_by_email(&email).await?
        && state.store.role(scope.org.id, user.id).await?.is_some()
    {
        let message = format!("`{email}` is a member already.");
        return Err(ApiError::invalid("already_member", message));
    }
    let now = Utc::now();
    let secret = Secret::new("invite")?;
    let invite = NewInvite {
        org: scope.org.id,
        email,
        role: match body.role {
            InviteRole::Admin => Role::Admin,
            InviteRole::Member => Role::Member,
        },
        hash: secret.hash(),
        expires_at: now + INVITE,
    };
    let made = match state.store.create_invite(invite, now).await {
        Err(StoreError::Taken(_)) => {
            let message = "This email is invited already. Revoke that invite to make another.";
            return Err(ApiError::invalid("already_invited", message));
        }
        made => made?,
    };
    Ok((StatusCode::CREATED, Answer(Invite::new(made, Some(&secret)))))
}

/// Revoke a pending invite
#[utoipa::path(delete, path = "/api/v0/organizations/{org}/invites/{id}", operation_id = "revokeInvite", tag = "organizations",
    params(("org" = String, Path, description = ""), ("id" = String, Path, description = "")),
    responses((status = 204, description = "Revoked")))]
pub(super) async fn revoke(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let missing = || ApiError::not_found("invite_not_found", "The organization has no such invite.");
    let id = id.parse().map_err(|_| missing())?;
    if state.store.revoke_invite(scope.org.id, id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(missing())
}

/// Accept an invite
#[utoipa::path(post, path = "/api/v0/invites/accept", operation_id = "acceptInvite", tag = "organizations",
    request_body = AcceptInviteRequest,
    responses((status = 200, description = "The joined organization", body = Organization),
        (status = 422, description = "Invite cannot be accepted", body = ErrorBody)))]
pub(super) async fn accept(
    state: Ctx,
    caller: Extension<Caller>,
    Json(body): Json<AcceptInviteRequest>,
) -> ApiResult<Answer<Organization>> {
    let user = caller.user(&state).await?;
    let hash = Secret::presented(body.token).hash();
    let invite = state.store.invite(&hash, Utc::now()).await?.ok_or_else(void)?;
    if invite.email != user.email {
        return Err(ApiError::invalid(
            "invalid_invite",
            "This invite is for somebody else.",
        ));
    }
    Ok(Answer(accepted(&state, &invite, user.id).await?))
}

/// Accept an invite without an account
///
/// Makes an account for the invited email and logs it in. Whoever has an account already logs in and accepts the
/// invite there: an invite must never open somebody's account.
#[utoipa::path(post, path = "/hm/v1/invites/join", operation_id = "joinByInvite", tag = "hm",
    request_body = JoinRequest,
    responses((status = 201, description = "The joined organization, and a session", body = JoinResponse),
        (status = 422, description = "Invite cannot be accepted", body = ErrorBody)))]
pub(super) async fn join(
    state: Ctx,
    Json(body): Json<JoinRequest>,
) -> ApiResult<(StatusCode, Answer<JoinResponse>)> {
    let hash = Secret::presented(body.token).hash();
    let now = Utc::now();
    let invite = state.store.invite(&hash, now).await?.ok_or_else(void)?;
    let new = NewUser {
        email: invite.email.clone(),
        name: text::maybe_line("name", body.name.as_deref())?,
        personal_org: None,
    };
    let user = match state.store.create_user(new, now).await {
        Err(StoreError::Taken(_)) => {
            let message = "This email has an account. Log in, and accept the invite there.";
            return Err(ApiError::invalid("account_exists", message));
        }
        user => user?,
    };
    let organization = accepted(&state, &invite, user.id).await?;
    let login = Login {
        user: user.id,
        bound: None,
    };
    let token = login::session(&state, login).await?.reveal().to_owned();
    Ok((StatusCode::CREATED, Answer(JoinResponse { token, organization })))
}
