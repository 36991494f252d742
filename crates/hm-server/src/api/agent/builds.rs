//! What an agent says about a build that it has.

use std::time::Duration;

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use bytes::Bytes;
use hm_plugin_protocol::events::BuildEvent;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::extract::{Json, Path, Query};
use crate::api::{ApiError, ApiResult, Ctx, text};
use crate::auth::AgentOrg;
use crate::build::{AgentEnding, AgentVerdict};
use crate::error::ErrorBody;
use crate::model::BuildState;
use crate::queue::Fence;
use crate::state::App;

/// The longest error message of an agent.
const MESSAGE: usize = 64 << 10;

/// Which attempt speaks.
#[derive(Deserialize, ToSchema)]
pub(in crate::api) struct HeartbeatRequest {
    /// As it came with the lease.
    attempt: i64,
    /// How long to wait before the answer, unless the build is to be stopped; the server may answer earlier. The lease
    /// is held from the moment the request comes, and no longer than without it.
    #[serde(default)]
    wait_seconds: u32,
}

/// What the agent shall do.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct HeartbeatResponse {
    /// Stop the build, say what it does meanwhile, and complete it as canceled.
    cancel: bool,
    /// How long the build stays the agent's that says nothing.
    lease_seconds: u64,
}

/// Which events come.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventsQuery {
    /// As it came with the lease.
    attempt: i64,
    /// The first event's number, counted from 1 within the attempt.
    first: u64,
}

/// What is acknowledged.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct EventsResponse {
    /// The number of the event that is wanted next. All before it are kept.
    next: u64,
    /// Stop the build, say what it does meanwhile, and complete it as canceled.
    cancel: bool,
}

/// How a build ended.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum Verdict {
    Passed,
    Failed,
    Canceled,
    TimedOut,
}

/// A build is over.
#[derive(Deserialize, ToSchema)]
pub(in crate::api) struct CompleteRequest {
    /// As it came with the lease.
    attempt: i64,
    /// How many events were sent; all of them must have been acknowledged.
    events: u64,
    #[schema(inline)]
    status: Verdict,
    /// Why it failed, when no step is to blame: the machine, or the source archive.
    error: Option<String>,
}

/// How the build stands now.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct CompleteResponse {
    #[schema(inline)]
    state: BuildState,
}

/// The agent cannot go on.
#[derive(Deserialize, ToSchema)]
pub(in crate::api) struct ReleaseRequest {
    /// As it came with the lease.
    attempt: i64,
    /// What the agent calls itself.
    agent: String,
    /// Why it cannot run the build, unless it is only being stopped. A build that several agents cannot run ends as failed.
    #[serde(default)]
    reason: Option<String>,
}

/// To an agent of another organization the build does not exist.
async fn fence(app: &App, org: AgentOrg, build: &str, attempt: i64) -> ApiResult<Fence> {
    let missing = || ApiError::not_found("build_not_found", "The organization has no such build.");
    let build = build.parse().map_err(|_| missing())?;
    let build = app.agents_build(org.0, build).await?.ok_or_else(missing)?;
    Ok(Fence {
        build: build.id,
        attempt,
    })
}

/// Hold a build
#[utoipa::path(post, path = "/agent/v1/builds/{build_uuid}/heartbeat", operation_id = "heartbeat", tag = "agent",
    params(("build_uuid" = String, Path, description = "The build's id.")),
    request_body = HeartbeatRequest,
    responses((status = 200, description = "It is held", body = HeartbeatResponse),
        (status = 404, description = "No such build", body = ErrorBody),
        (status = 409, description = "The lease is lost", body = ErrorBody)))]
pub(in crate::api) async fn heartbeat(
    state: Ctx,
    org: Extension<AgentOrg>,
    Path(build): Path<String>,
    Json(body): Json<HeartbeatRequest>,
) -> ApiResult<Answer<HeartbeatResponse>> {
    let fence = fence(&state, org.0, &build, body.attempt).await?;
    let wait = Duration::from_secs(body.wait_seconds.into());
    Ok(Answer(HeartbeatResponse {
        cancel: state.hold(fence, wait).await?,
        lease_seconds: state.config.agents.lease.as_secs(),
    }))
}

/// Events, one JSON object a line.
fn parse(body: &[u8]) -> ApiResult<Vec<BuildEvent>> {
    let lines = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let parsed = lines.enumerate().map(|(place, line)| {
        serde_json::from_slice(line).map_err(|error| {
            let message = format!("Line {} is no event: {error}.", place + 1);
            ApiError::invalid("bad_event", message)
        })
    });
    parsed.collect()
}

/// Say what a build does
#[utoipa::path(post, path = "/agent/v1/builds/{build_uuid}/events", operation_id = "sendEvents", tag = "agent",
    params(("build_uuid" = String, Path, description = "The build's id."), EventsQuery),
    request_body(content = String, content_type = "application/x-ndjson", description = "Build events, one a line"),
    responses((status = 200, description = "They are kept", body = EventsResponse),
        (status = 404, description = "No such build", body = ErrorBody),
        (status = 409, description = "The lease is lost, or events are missing", body = ErrorBody)))]
pub(in crate::api) async fn events(
    state: Ctx,
    org: Extension<AgentOrg>,
    Path(build): Path<String>,
    Query(query): Query<EventsQuery>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> ApiResult<Answer<EventsResponse>> {
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::body_too_large("The body with the events", state.config.limits.events)
        }
        _ => ApiError::malformed("The body broke off."),
    })?;
    let fence = fence(&state, org.0, &build, query.attempt).await?;
    let accepted = state.tell(fence, query.first, parse(&body)?).await?;
    Ok(Answer(EventsResponse {
        next: accepted.next,
        cancel: accepted.cancel,
    }))
}

/// Complete a build
///
/// It is safe to say again: the same attempt gets the same answer.
#[utoipa::path(post, path = "/agent/v1/builds/{build_uuid}/complete", operation_id = "completeBuild", tag = "agent",
    params(("build_uuid" = String, Path, description = "The build's id.")),
    request_body = CompleteRequest,
    responses((status = 200, description = "It is over", body = CompleteResponse),
        (status = 404, description = "No such build", body = ErrorBody),
        (status = 409, description = "The lease is lost, or events are missing", body = ErrorBody)))]
pub(in crate::api) async fn complete(
    state: Ctx,
    org: Extension<AgentOrg>,
    Path(build): Path<String>,
    Json(body): Json<CompleteRequest>,
) -> ApiResult<Answer<CompleteResponse>> {
    let fence = fence(&state, org.0, &build, body.attempt).await?;
    let error = body.error.map(|error| text::prose("error", &error, MESSAGE));
    let ending = AgentEnding {
        verdict: match body.status {
            Verdict::Passed => AgentVerdict::Passed,
            Verdict::Failed => AgentVerdict::Failed,
            Verdict::Canceled => AgentVerdict::Canceled,
            Verdict::TimedOut => AgentVerdict::TimedOut,
        },
        error: error.transpose()?,
    };
    let build = state.complete(fence, body.events, ending).await?;
    Ok(Answer(CompleteResponse { state: build.state }))
}

/// Give a build back
#[utoipa::path(post, path = "/agent/v1/builds/{build_uuid}/release", operation_id = "releaseBuild", tag = "agent",
    params(("build_uuid" = String, Path, description = "The build's id.")),
    request_body = ReleaseRequest,
    responses((status = 204, description = "Somebody else runs it, or it was canceled and has ended"),
        (status = 404, description = "No such build", body = ErrorBody),
        (status = 409, description = "The lease is lost", body = ErrorBody)))]
pub(in crate::api) async fn release(
    state: Ctx,
    org: Extension<AgentOrg>,
    Path(build): Path<String>,
    Json(body): Json<ReleaseRequest>,
) -> ApiResult<StatusCode> {
    let fence = fence(&state, org.0, &build, body.attempt).await?;
    let agent = text::line("agent", &body.agent)?;
    let reason = body.reason.map(|reason| text::prose("reason", &reason, MESSAGE));
    state
        .give_back(fence, &agent, reason.transpose()?.as_deref())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
