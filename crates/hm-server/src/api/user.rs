//! The person who asks.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::Json;
use super::{ApiError, ApiResult, Ctx, text};
use crate::auth::Caller;
use crate::error::ErrorBody;
use crate::model::User;

/// The authenticated user and their personal organization's slug.
#[derive(Serialize, ToSchema)]
pub(super) struct CurrentUserResponse {
    /// Stable user id.
    uuid: Uuid,
    /// The same under the name that version 1 of the published API has for it.
    #[schema(ignore)]
    id: Uuid,
    /// The user's email address.
    email: String,
    /// Display name.
    name: Option<String>,
    /// Slug of the user's personal organization.
    personal_org_slug: Option<String>,
}

impl From<User> for CurrentUserResponse {
    fn from(user: User) -> Self {
        Self {
            uuid: user.id.0,
            id: user.id.0,
            email: user.email,
            name: user.name,
            personal_org_slug: user.personal_org,
        }
    }
}

/// Updates the current user's editable profile fields.
#[derive(Deserialize, ToSchema)]
pub(super) struct UserUpdateRequest {
    /// New display name.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
}

/// Get the current authenticated user
#[utoipa::path(get, path = "/api/v0/user", operation_id = "getCurrentUser", tag = "user",
    responses((status = 200, description = "The current user", body = CurrentUserResponse)))]
pub(super) async fn get(state: Ctx, caller: Extension<Caller>) -> ApiResult<Answer<CurrentUserResponse>> {
    Ok(Answer(caller.user(&state).await?.into()))
}

/// Update the current user's display name
#[utoipa::path(patch, path = "/api/v0/user", operation_id = "updateCurrentUser", tag = "user",
    request_body = UserUpdateRequest,
    responses((status = 200, description = "The updated user", body = CurrentUserResponse),
        (status = 422, description = "Invalid name", body = ErrorBody)))]
pub(super) async fn update(
    state: Ctx,
    caller: Extension<Caller>,
    Json(body): Json<UserUpdateRequest>,
) -> ApiResult<Answer<CurrentUserResponse>> {
    let name = text::line("name", &body.name)?;
    state.store.rename_user(caller.user_id()?, &name).await?;
    Ok(Answer(caller.user(&state).await?.into()))
}

/// Delete the current user's account
#[utoipa::path(delete, path = "/api/v0/user", operation_id = "deleteCurrentUser", tag = "user",
    responses((status = 204, description = "Account deleted"),
        (status = 409, description = "An organization would be left without an owner", body = ErrorBody)))]
pub(super) async fn delete(state: Ctx, caller: Extension<Caller>) -> ApiResult<StatusCode> {
    if state.store.delete_user(caller.user_id()?).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::conflict(
        "last_owner",
        "You are the only owner of an organization. Make somebody else its owner first.",
    ))
}
