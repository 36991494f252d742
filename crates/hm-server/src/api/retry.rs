//! A build, again.

use axum::Extension;
use axum::http::StatusCode;
use axum::response::Response;

use super::builds::{Build, answer, find};
use super::extract::Path;
use super::{ApiResult, Ctx};
use crate::auth::Scope;
use crate::error::ErrorBody;

/// Retry a build
///
/// Makes a new build of the same plan, source and variables, whatever the state of this one.
#[utoipa::path(post, path = "/hm/v1/organizations/{org}/pipelines/{pipeline}/builds/{number}/retry", operation_id = "retryBuild", tag = "hm",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."),
        ("number" = i64, Path, description = "The build number.")),
    responses((status = 201, description = "The new build", body = Build),
        (status = 403, description = "Manual builds are disabled for this pipeline", body = ErrorBody),
        (status = 404, description = "No such build in this pipeline", body = ErrorBody),
        (status = 409, description = "Its plan was refused", body = ErrorBody),
        (status = 410, description = "Its source is gone", body = ErrorBody)))]
pub(super) async fn retry(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, i64)>,
) -> ApiResult<Response> {
    let (pipeline, build) = find(&state, &scope, &pipeline, number).await?;
    let retried = state.retry(&pipeline, &build).await?;
    Ok(answer(StatusCode::CREATED, retried, &pipeline))
}
