//! The source archive, for the agent that runs the build.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::extract::Path;
use super::{ApiError, ApiResult, Ctx};
use crate::blobs::BlobName;
use crate::error::ErrorBody;

/// Serve a build's source archive (runner-token auth)
#[utoipa::path(get, path = "/api/v0/internal/builds/{build_uuid}/source.tar.gz", operation_id = "getBuildSource", tag = "builds",
    params(("build_uuid" = String, Path, description = "The build's external id (UUID).")),
    responses((status = 200, description = "The gzipped source archive", body = Vec<u8>, content_type = "application/gzip"),
        (status = 401, description = "Missing or invalid runner token", body = ErrorBody),
        (status = 404, description = "No such build, or no source archive", body = ErrorBody)))]
pub(super) async fn get(state: Ctx, Path(build): Path<String>) -> ApiResult<Response> {
    let missing = || ApiError::not_found("source_not_found", "The build has no source archive here.");
    let build = build.parse().map_err(|_| missing())?;
    let blob = state
        .blobs
        .get(&BlobName::source(build))
        .await?
        .ok_or_else(missing)?;
    let headers = [
        (CONTENT_TYPE, "application/gzip".to_owned()),
        (CONTENT_LENGTH, blob.bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(blob.content)).into_response())
}
