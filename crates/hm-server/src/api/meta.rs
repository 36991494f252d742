//! Whether the server is there, and what it offers.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

use super::{ApiError, ApiResult, Ctx};

/// The server is there.
#[derive(Serialize, ToSchema)]
pub(super) struct Ping {
    /// `ok`
    status: &'static str,
}

/// Liveness probe
#[utoipa::path(get, path = "/api/v0/ping", operation_id = "ping", tag = "meta",
    responses((status = 200, description = "Service is up", body = Ping)))]
pub(super) async fn ping() -> Json<Ping> {
    Json(Ping { status: "ok" })
}

/// This document
#[utoipa::path(get, path = "/api/v0/openapi.json", operation_id = "getOpenApi", tag = "meta",
    responses((status = 200, description = "The OpenAPI document of this server", body = Object)))]
pub(super) async fn openapi(state: Ctx) -> ApiResult<Json<OpenApi>> {
    let document = state.document.get().cloned();
    document
        .map(Json)
        .ok_or_else(|| ApiError::not_found("no_document", "This server has no document."))
}
