//! Pipelines.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Json, Path, Query};
use super::page::PageQuery;
use super::{ApiError, ApiResult, Ctx, text};
use crate::auth::Scope;
use crate::error::ErrorBody;
use crate::model::{self, NewPipeline, Visibility};
use crate::state::App;
use crate::store::StoreError;

/// The longest description.
const DESCRIPTION: usize = 10_000;

/// A repeatable CI workflow belonging to an organization.
#[derive(Serialize, ToSchema)]
pub(super) struct Pipeline {
    /// Of version 1 of the published API.
    #[schema(ignore)]
    id: Uuid,
    /// URL-safe slug, unique within the organization. Derived from the name.
    slug: String,
    /// Display name.
    name: String,
    /// Optional human description.
    description: Option<String>,
    /// The source repository this pipeline builds.
    repository: String,
    /// The pipeline's repo as `owner/repo`. `null` when unknown.
    repo_name: Option<String>,
    /// The branch built by default.
    default_branch: String,
    #[schema(inline)]
    visibility: Visibility,
    /// Whether manual (e.g. `hm run`) builds are permitted.
    allow_manual: bool,
    /// When the pipeline was created.
    created_at: DateTime<Utc>,
}

impl From<model::Pipeline> for Pipeline {
    fn from(pipeline: model::Pipeline) -> Self {
        Self {
            id: pipeline.id.0,
            slug: pipeline.slug,
            name: pipeline.name,
            description: pipeline.description,
            repository: pipeline.repository,
            repo_name: pipeline.repo_name,
            default_branch: pipeline.default_branch,
            visibility: Visibility::Private,
            allow_manual: pipeline.allow_manual,
            created_at: pipeline.created_at,
        }
    }
}

/// A page of an organization's pipelines, with an opaque cursor.
#[derive(Serialize, ToSchema)]
pub(super) struct PipelineList {
    /// The pipelines on this page.
    data: Vec<Pipeline>,
    /// Opaque cursor for the next page; `null` when there are no more pages.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Creates a pipeline within an organization. The slug is derived from the name; a slug collision within the organization is rejected.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreatePipelineRequest {
    /// Display name.
    name: String,
    /// Optional human description.
    description: Option<String>,
    /// The source repository this pipeline builds.
    repository: String,
    /// Optional `owner/repo` label. When omitted it is derived from `repository`.
    repo_name: Option<String>,
    /// The branch built by default.
    default_branch: String,
}

/// The pipeline that a path names.
pub(super) async fn find(app: &App, scope: &Scope, slug: &str) -> ApiResult<model::Pipeline> {
    let pipeline = app.store.pipeline(scope.org.id, slug).await?;
    pipeline.ok_or_else(|| {
        let message = format!("`{}` has no pipeline `{slug}`.", scope.org.slug);
        ApiError::not_found("pipeline_not_found", message)
    })
}

/// List an organization's pipelines
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines", operation_id = "listPipelines", tag = "pipelines",
    params(("org" = String, Path, description = "The organization slug."), PageQuery),
    responses((status = 200, description = "The organization's pipelines", body = PipelineList),
        (status = 404, description = "No such organization for this user", body = ErrorBody)))]
pub(super) async fn list(
    state: Ctx,
    scope: Extension<Scope>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<PipelineList>> {
    let after = page.after()?.unwrap_or_default();
    let mut pipelines = state.store.pipelines(scope.org.id, &after, page.peek()).await?;
    let next_cursor = page.cut(&mut pipelines, |pipeline| pipeline.slug.clone());
    Ok(Answer(PipelineList {
        data: pipelines.into_iter().map(Pipeline::from).collect(),
        next_cursor,
    }))
}

/// Create a pipeline
#[utoipa::path(post, path = "/api/v0/organizations/{org}/pipelines", operation_id = "createPipeline", tag = "pipelines",
    params(("org" = String, Path, description = "The organization slug.")),
    request_body = CreatePipelineRequest,
    responses((status = 201, description = "The created pipeline", body = Pipeline),
        (status = 404, description = "No such organization for this user", body = ErrorBody),
        (status = 422, description = "Validation failed (e.g. slug already taken)", body = ErrorBody)))]
pub(super) async fn create(
    state: Ctx,
    scope: Extension<Scope>,
    Json(body): Json<CreatePipelineRequest>,
) -> ApiResult<(StatusCode, Answer<Pipeline>)> {
    let name = text::line("name", &body.name)?;
    let repository = text::line("repository", &body.repository)?;
    let description = body.description.as_deref();
    let description = description.map(|text| text::prose("description", text, DESCRIPTION));
    let repo_name = text::maybe_line("repo_name", body.repo_name.as_deref())?;
    let new = NewPipeline {
        org: scope.org.id,
        slug: text::slug("name", &name)?,
        name,
        description: description.transpose()?,
        repo_name: repo_name.or_else(|| text::repo_name(&repository)),
        repository,
        default_branch: text::line("default_branch", &body.default_branch)?,
        allow_manual: true,
    };
    let slug = new.slug.clone();
    match state.store.create_pipeline(new, Utc::now()).await {
        Err(StoreError::Taken(_)) => {
            let message = format!(
                "`{}` has a pipeline `{slug}` already. Choose another name.",
                scope.org.slug
            );
            Err(ApiError::invalid("slug_taken", message))
        }
        made => Ok((StatusCode::CREATED, Answer(made?.into()))),
    }
}

/// Get a pipeline
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines/{pipeline}", operation_id = "getPipeline", tag = "pipelines",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug.")),
    responses((status = 200, description = "The pipeline", body = Pipeline),
        (status = 404, description = "No such pipeline in this organization", body = ErrorBody)))]
pub(super) async fn get(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, slug)): Path<(String, String)>,
) -> ApiResult<Answer<Pipeline>> {
    Ok(Answer(find(&state, &scope, &slug).await?.into()))
}
