//! Organizations.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Json, Query};
use super::page::PageQuery;
use super::{ApiError, ApiResult, Ctx, text};
use crate::auth::{Caller, Scope};
use crate::error::ErrorBody;
use crate::model::{self, NewOrganization};
use crate::store::StoreError;

/// An organization the authenticated user is a member of.
#[derive(Serialize, ToSchema)]
pub(super) struct Organization {
    /// Of version 1 of the published API.
    #[schema(ignore)]
    id: Uuid,
    /// URL-safe unique slug identifying the organization.
    slug: String,
    /// Display name.
    name: String,
    /// The organization's website, if set.
    url: Option<String>,
    /// When the organization was created.
    created_at: DateTime<Utc>,
}

impl From<model::Organization> for Organization {
    fn from(org: model::Organization) -> Self {
        Self {
            id: org.id.0,
            slug: org.slug,
            name: org.name,
            url: org.url,
            created_at: org.created_at,
        }
    }
}

/// A page of the current user's organizations, with an opaque cursor.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganizationList {
    /// The organizations on this page.
    data: Vec<Organization>,
    /// Opaque cursor for the next page; `null` when there are no more pages.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Create a new organization owned by the authenticated user.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateOrganizationRequest {
    /// Display name. The slug is derived from this.
    #[schema(min_length = 1)]
    name: String,
    /// Optional website URL.
    url: Option<String>,
}

/// List the current user's organizations
#[utoipa::path(get, path = "/api/v0/organizations", operation_id = "listOrganizations", tag = "organizations",
    params(PageQuery),
    responses((status = 200, description = "The user's organizations", body = OrganizationList)))]
pub(super) async fn list(
    state: Ctx,
    caller: Extension<Caller>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<OrganizationList>> {
    let after = page.after()?.unwrap_or_default();
    let mut orgs = state
        .store
        .organizations_of(caller.user_id()?, &after, page.peek())
        .await?;
    let next_cursor = page.cut(&mut orgs, |org| org.slug.clone());
    orgs.retain(|org| caller.token.org.is_none_or(|only| only == org.id));
    Ok(Answer(OrganizationList {
        data: orgs.into_iter().map(Organization::from).collect(),
        next_cursor,
    }))
}

/// Create an organization
#[utoipa::path(post, path = "/api/v0/organizations", operation_id = "createOrganization", tag = "organizations",
    request_body = CreateOrganizationRequest,
    responses((status = 201, description = "The created organization", body = Organization),
        (status = 422, description = "Invalid organization attributes", body = ErrorBody)))]
pub(super) async fn create(
    state: Ctx,
    caller: Extension<Caller>,
    Json(body): Json<CreateOrganizationRequest>,
) -> ApiResult<(StatusCode, Answer<Organization>)> {
    let name = text::line("name", &body.name)?;
    let new = NewOrganization {
        slug: text::slug("name", &name)?,
        name,
        url: text::maybe_line("url", body.url.as_deref())?,
        owner: caller.user_id()?,
    };
    let slug = new.slug.clone();
    if !text::names_organization(&slug) {
        let message =
            format!("`{slug}` stands for something else in this server's URLs. Choose another name.");
        return Err(ApiError::invalid("slug_reserved", message));
    }
    let made = state.store.create_organization(new, Utc::now()).await;
    match made {
        Err(StoreError::Taken(_)) => {
            let message = format!("There is an organization `{slug}` already. Choose another name.");
            Err(ApiError::invalid("slug_taken", message))
        }
        made => Ok((StatusCode::CREATED, Answer(made?.into()))),
    }
}

/// Get an organization
#[utoipa::path(get, path = "/api/v0/organizations/{org}", operation_id = "getOrganization", tag = "organizations",
    params(("org" = String, Path, description = "The organization slug.")),
    responses((status = 200, description = "The organization", body = Organization),
        (status = 404, description = "No such organization for this user", body = ErrorBody)))]
pub(super) async fn get(scope: Extension<Scope>) -> Answer<Organization> {
    Answer(scope.0.org.into())
}
