//! Who belongs to an organization.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Json, Path};
use super::{ApiError, ApiResult, Ctx};
use crate::UserId;
use crate::auth::{Caller, Scope};
use crate::error::ErrorBody;
use crate::model::{Member, Role};
use crate::state::App;
use crate::store::MemberChange;

/// What a member may do.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MemberRole {
    Owner,
    Admin,
    Member,
}

impl From<MemberRole> for Role {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Owner => Self::Owner,
            MemberRole::Admin => Self::Admin,
            MemberRole::Member => Self::Member,
        }
    }
}

impl From<Role> for MemberRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Member | Role::Read => Self::Member,
        }
    }
}

/// A person in an organization.
#[derive(Serialize, ToSchema)]
pub(super) struct OrgMember {
    user_uuid: Uuid,
    /// The same under the name that version 1 of the published API has for it.
    #[schema(ignore)]
    user_id: Uuid,
    email: String,
    name: Option<String>,
    #[schema(inline)]
    role: MemberRole,
}

impl From<Member> for OrgMember {
    fn from(member: Member) -> Self {
        Self {
            user_uuid: member.user.id.0,
            user_id: member.user.id.0,
            email: member.user.email,
            name: member.user.name,
            role: member.role.into(),
        }
    }
}

/// An organization's members.
#[derive(Serialize, ToSchema)]
pub(super) struct OrgMemberList {
    data: Vec<OrgMember>,
}

/// Changes what a member may do.
#[derive(Deserialize, ToSchema)]
pub(super) struct UpdateMemberRoleRequest {
    #[schema(inline)]
    role: MemberRole,
}

fn missing() -> ApiError {
    ApiError::not_found("member_not_found", "The organization has no such member.")
}

fn changed(change: MemberChange) -> ApiResult<()> {
    match change {
        MemberChange::Done => Ok(()),
        MemberChange::NotMember => Err(missing()),
        MemberChange::LastOwner => Err(ApiError::conflict(
            "last_owner",
            "This is the organization's only owner. Make somebody else an owner first.",
        )),
    }
}

async fn member(app: &App, scope: &Scope, id: &str) -> ApiResult<Member> {
    let id: UserId = id.parse().map_err(|_| missing())?;
    let members = app.store.members(scope.org.id).await?;
    members
        .into_iter()
        .find(|member| member.user.id == id)
        .ok_or_else(missing)
}

/// Nobody gives or takes a role above their own.
fn outrank(scope: &Scope, role: Role) -> ApiResult<()> {
    if role <= scope.role {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "insufficient_role",
        format!(
            "Only an owner can do this; your role, or your token's, is `{}`.",
            scope.role.as_str()
        ),
    ))
}

/// List organization members
#[utoipa::path(get, path = "/api/v0/organizations/{org}/members", operation_id = "listOrgMembers", tag = "organizations",
    params(("org" = String, Path, description = "")),
    responses((status = 200, description = "Members", body = OrgMemberList),
        (status = 404, description = "No such org for this user", body = ErrorBody)))]
pub(super) async fn list(state: Ctx, scope: Extension<Scope>) -> ApiResult<Answer<OrgMemberList>> {
    let members = state.store.members(scope.org.id).await?;
    Ok(Answer(OrgMemberList {
        data: members.into_iter().map(OrgMember::from).collect(),
    }))
}

/// Change a member's role
#[utoipa::path(patch, path = "/api/v0/organizations/{org}/members/{user_id}", operation_id = "updateOrgMember", tag = "organizations",
    params(("org" = String, Path, description = ""), ("user_id" = String, Path, description = "")),
    request_body = UpdateMemberRoleRequest,
    responses((status = 200, description = "Updated member", body = OrgMember),
        (status = 403, description = "Insufficient role", body = ErrorBody),
        (status = 404, description = "Member not found", body = ErrorBody),
        (status = 409, description = "Cannot demote the last owner", body = ErrorBody),
        (status = 422, description = "Invalid role value", body = ErrorBody)))]
pub(super) async fn update(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, user)): Path<(String, String)>,
    Json(body): Json<UpdateMemberRoleRequest>,
) -> ApiResult<Answer<OrgMember>> {
    let role = Role::from(body.role);
    let was = member(&state, &scope, &user).await?;
    outrank(&scope, role.max(was.role))?;
    changed(state.store.set_role(scope.org.id, was.user.id, role).await?)?;
    Ok(Answer(Member { role, ..was }.into()))
}

/// Remove a member
#[utoipa::path(delete, path = "/api/v0/organizations/{org}/members/{user_id}", operation_id = "removeOrgMember", tag = "organizations",
    params(("org" = String, Path, description = ""), ("user_id" = String, Path, description = "")),
    responses((status = 204, description = "Removed"),
        (status = 403, description = "Insufficient role", body = ErrorBody),
        (status = 404, description = "Member not found", body = ErrorBody),
        (status = 409, description = "Cannot remove the last owner", body = ErrorBody)))]
pub(super) async fn remove(
    state: Ctx,
    scope: Extension<Scope>,
    caller: Extension<Caller>,
    Path((_, user)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let was = member(&state, &scope, &user).await?;
    // Everybody may leave.
    if was.user.id != caller.user_id()? {
        outrank(&scope, was.role.max(Role::Admin))?;
    }
    changed(state.store.remove_member(scope.org.id, was.user.id).await?)?;
    Ok(StatusCode::NO_CONTENT)
}
