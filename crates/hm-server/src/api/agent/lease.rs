//! Waiting for a build.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use harmont_client::models::BuildOptions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::extract::Json;
use crate::api::{ApiError, ApiResult, Ctx, text};
use crate::auth::AgentOrg;
use crate::build::Leased;
use crate::model::SourceArchive;
use crate::state::App;

/// The most labels that an agent has.
const LABELS: usize = 100;

/// An agent that is free.
#[derive(Deserialize, ToSchema)]
pub(in crate::api) struct LeaseRequest {
    /// What the agent calls itself; people read it.
    agent: String,
    /// What the agent has. A build whose plan has `labels` goes to an agent that has them all.
    #[serde(default)]
    labels: BTreeSet<String>,
    /// How long to wait for a build; the server may answer earlier.
    #[serde(default)]
    wait_seconds: u32,
}

/// A build to run.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct LeaseResponse {
    /// The build. It is the `run_id` of its events.
    build_id: Uuid,
    /// Goes along with whatever is said about the build.
    attempt: i64,
    /// How long the build stays the agent's that says nothing.
    lease_seconds: u64,
    /// The organization's slug.
    org: String,
    /// The pipeline's slug.
    pipeline: String,
    /// The build's number.
    number: i64,
    /// Where people watch it.
    watch_url: String,
    /// The plan, byte for byte as it was submitted.
    plan: String,
    /// The submitter's variables.
    env: BTreeMap<String, String>,
    /// How it runs. An agent that does not know an option fails the build: it must not run otherwise.
    #[schema(value_type = Object)]
    options: BuildOptions,
    /// The source's branch.
    branch: String,
    /// The source's commit.
    commit: String,
    /// The commit's message.
    message: Option<String>,
    /// `owner/repo`.
    repo_name: Option<String>,
    /// The source archive; null when there is none.
    source: Option<LeasedSource>,
    /// The plan's steps.
    jobs: Vec<LeasedJob>,
}

/// Where the source archive is.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct LeasedSource {
    /// A gzipped tarball.
    url: String,
    /// The bearer token to fetch it with. It is good for this attempt. Null when the URL is somebody else's.
    token: Option<String>,
    /// Its SHA-256 digest in hexadecimal, where it is known.
    sha256: Option<String>,
    /// Its length in bytes, where it is known.
    bytes: Option<u64>,
}

/// A step, and the id that stands for it in events.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct LeasedJob {
    key: String,
    id: Uuid,
}

fn response(app: &App, leased: Leased) -> LeaseResponse {
    let Leased {
        build,
        pipeline,
        org,
        plan,
        jobs,
        runner,
    } = leased;
    let source = match build.archive {
        SourceArchive::None => None,
        SourceArchive::Uploaded { bytes, sha256 } => Some(LeasedSource {
            url: format!(
                "{}/api/v0/internal/builds/{}/source.tar.gz",
                app.config.public_url, build.id
            ),
            token: Some(runner.reveal().to_owned()),
            sha256: Some(sha256),
            bytes: Some(bytes),
        }),
        SourceArchive::Url { url, sha256 } => Some(LeasedSource {
            url,
            token: None,
            sha256,
            bytes: None,
        }),
    };
    LeaseResponse {
        build_id: build.id.0,
        attempt: build.attempt,
        lease_seconds: app.config.agents.lease.as_secs(),
        watch_url: app.config.watch_url(&org, &pipeline.slug, build.number),
        org,
        pipeline: pipeline.slug,
        number: build.number,
        plan,
        env: build.env,
        options: build.options,
        branch: build.branch,
        commit: build.commit,
        message: build.message,
        repo_name: pipeline.repo_name,
        source,
        jobs: jobs
            .into_iter()
            .map(|job| LeasedJob {
                key: job.key,
                id: job.id.0,
            })
            .collect(),
    }
}

/// Wait for a build
#[utoipa::path(post, path = "/agent/v1/lease", operation_id = "leaseBuild", tag = "agent",
    request_body = LeaseRequest,
    responses((status = 200, description = "A build to run", body = LeaseResponse),
        (status = 204, description = "None came; ask again")))]
pub(in crate::api) async fn lease(
    state: Ctx,
    org: Extension<AgentOrg>,
    Json(body): Json<LeaseRequest>,
) -> ApiResult<Response> {
    let agent = text::line("agent", &body.agent)?;
    if body.labels.len() > LABELS {
        return Err(ApiError::invalid(
            "invalid_request",
            "`labels` has more than 100 labels.",
        ));
    }
    let wait = Duration::from_secs(body.wait_seconds.into()).min(state.config.agents.poll);
    state.agents.asks(org.0.0, &agent, &body.labels);
    let mut arrivals = state.queue.arrivals(org.0.0, &body.labels);
    let until = tokio::time::sleep(wait);
    tokio::pin!(until);
    loop {
        arrivals.mark_unchanged();
        if state.stopping.is_cancelled() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        if let Some(leased) = state.lease(org.0.0, &agent, &body.labels).await? {
            return Ok(Answer(response(&state, leased)).into_response());
        }
        tokio::select! {
            () = &mut until => return Ok(StatusCode::NO_CONTENT.into_response()),
            () = state.stopping.cancelled() => {}
            changed = arrivals.changed() => {
                if changed.is_err() {
                    return Ok(StatusCode::NO_CONTENT.into_response());
                }
            }
        }
    }
}
