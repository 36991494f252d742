//! Builds.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use chrono::{DateTime, TimeDelta, Utc};
use harmont_client::models::BuildOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Path, Query};
use super::page::{PageQuery, bad_cursor};
use super::upload::{self, Upload};
use super::{ApiError, ApiResult, Ctx, options, pipelines, text};
use crate::auth::Scope;
use crate::blobs::BlobName;
use crate::build::Submission;
use crate::error::ErrorBody;
use crate::model::{self, BuildState, SourceArchive};
use crate::state::App;

/// How long a log token is good.
const LOG_TOKEN: TimeDelta = TimeDelta::hours(1);

/// The longest commit message.
const MESSAGE: usize = 64 << 10;
/// The most variables, and the longest of their names and values together.
const VARIABLES: usize = 1000;
const VARIABLE: usize = 128 << 10;

/// Answers with a build name it by its id too, which the published body has no field for.
pub(super) const BUILD_ID: HeaderName = HeaderName::from_static("x-hm-build-id");

/// One run of a pipeline, identified by its pipeline-scoped number.
#[derive(Serialize, ToSchema)]
pub(super) struct Build {
    /// Of version 1 of the published API.
    #[schema(ignore)]
    id: Uuid,
    /// The build's number, sequential and unique within its pipeline.
    number: i64,
    #[schema(inline)]
    state: BuildState,
    /// The slug of the pipeline this build belongs to.
    pipeline_slug: String,
    /// Source branch.
    branch: Option<String>,
    /// Source commit SHA.
    commit: Option<String>,
    /// Commit/build message.
    message: Option<String>,
    /// How the build was triggered (e.g. `api`, `webhook`, `ui`).
    source: Option<String>,
    /// Stable build-level error code, if the build failed at the build level.
    error_code: Option<String>,
    /// Human-readable build-level error message, if any.
    error_message: Option<String>,
    /// When the build row was created.
    created_at: DateTime<Utc>,
    /// When the build was queued.
    scheduled_at: Option<DateTime<Utc>>,
    /// When the build started running.
    started_at: Option<DateTime<Utc>>,
    /// When the build reached a terminal state.
    finished_at: Option<DateTime<Utc>>,
    /// How it runs. The published body has no field for it, so that it is there only when it says something.
    #[schema(ignore)]
    #[serde(skip_serializing_if = "BuildOptions::is_default")]
    run_options: BuildOptions,
    /// When its log was removed. The published body has no field for it, so that it is there only when it says something.
    #[schema(ignore)]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_removed_at: Option<DateTime<Utc>>,
    /// When its source archive was removed: it cannot be retried.
    #[schema(ignore)]
    #[serde(skip_serializing_if = "Option::is_none")]
    source_removed_at: Option<DateTime<Utc>>,
    /// What it waits for, in a sentence, as long as no agent has it.
    #[schema(ignore)]
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
}

impl Build {
    fn new(build: model::Build, pipeline: &model::Pipeline) -> Self {
        Self {
            id: build.id.0,
            number: build.number,
            state: build.state,
            pipeline_slug: pipeline.slug.clone(),
            branch: Some(build.branch),
            commit: Some(build.commit),
            message: build.message,
            source: Some(build.trigger),
            error_code: build.error_code,
            error_message: build.error_message,
            created_at: build.created_at,
            scheduled_at: build.scheduled_at,
            started_at: build.started_at,
            finished_at: build.finished_at,
            run_options: build.options,
            log_removed_at: build.log_removed_at,
            source_removed_at: build.source_removed_at,
            waits_for: None,
        }
    }
}

/// A page of a pipeline's builds (newest first), with an opaque cursor.
#[derive(Serialize, ToSchema)]
pub(super) struct BuildList {
    /// The builds on this page, newest first.
    data: Vec<Build>,
    /// Opaque cursor for the next page; `null` when there are no more pages.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Creates a build for a pipeline. This server renders no plans: `pipeline_ir` is needed.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateBuildRequest {
    /// Source branch.
    branch: String,
    /// Source commit SHA.
    commit: String,
    /// Optional build/commit message.
    message: Option<String>,
    /// How the build was triggered (e.g. `api`, `ui`). Defaults to `api`.
    source: Option<String>,
    /// Build-level environment variables.
    env: Option<BTreeMap<String, String>>,
    /// The pre-rendered v0 IR JSON.
    pipeline_ir: Option<String>,
    /// How it runs; the published body has no field for it.
    #[schema(ignore)]
    run_options: Option<Value>,
    /// Base64-encoded source archive, a gzipped tarball. It takes precedence over `source_url`.
    source_b64: Option<String>,
    /// SHA-256 of the source archive, in hexadecimal.
    source_sha256: Option<String>,
    /// URL of the build's source archive, fetched by the agent.
    source_url: Option<String>,
}

/// Creates a build by addressing the pipeline through its repository (`owner/repo`) and its name there.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateRepoBuildRequest {
    /// The worktree's repository as `owner/repo` (from its git remote).
    repo_name: String,
    /// The in-repo pipeline name.
    source_slug: String,
    /// Source branch.
    branch: String,
    /// Source commit SHA.
    commit: String,
    /// Optional build/commit message.
    message: Option<String>,
    /// How the build was triggered (e.g. `api`, `ui`). Defaults to `api`.
    source: Option<String>,
    /// Build-level environment variables.
    env: Option<BTreeMap<String, String>>,
    /// The pre-rendered v0 IR JSON.
    pipeline_ir: Option<String>,
    /// How it runs; the published body has no field for it.
    #[schema(ignore)]
    run_options: Option<Value>,
    /// Base64-encoded source archive, a gzipped tarball.
    source_b64: Option<String>,
}

/// A build-scoped HMAC token the SSE log stream accepts, plus its expiry.
#[derive(Serialize, ToSchema)]
pub(super) struct LogTokenResponse {
    /// The opaque, build-scoped log token.
    token: String,
    /// When the token expires (~1 hour out).
    expires_at: DateTime<Utc>,
}

/// An answer with a build.
pub(super) fn answer(status: StatusCode, build: model::Build, pipeline: &model::Pipeline) -> Response {
    answer_with(status, build, pipeline, None)
}

fn answer_with(
    status: StatusCode,
    build: model::Build,
    pipeline: &model::Pipeline,
    waits_for: Option<String>,
) -> Response {
    let id = HeaderValue::from_str(&build.id.to_string());
    let body = Build {
        waits_for,
        ..Build::new(build, pipeline)
    };
    let mut response = (status, Answer(body)).into_response();
    if let Ok(id) = id {
        response.headers_mut().insert(BUILD_ID, id);
    }
    response
}

/// The build that a path names.
pub(super) async fn find(
    app: &App,
    scope: &Scope,
    pipeline: &str,
    number: i64,
) -> ApiResult<(model::Pipeline, model::Build)> {
    let pipeline = pipelines::find(app, scope, pipeline).await?;
    let build = app.store.build(pipeline.id, number).await?;
    let build = build.ok_or_else(|| {
        let message = format!("Pipeline `{}` has no build #{number}.", pipeline.slug);
        ApiError::not_found("build_not_found", message)
    })?;
    Ok((pipeline, build))
}

fn environment(env: Option<BTreeMap<String, String>>) -> ApiResult<BTreeMap<String, String>> {
    let env = env.unwrap_or_default();
    let bad = |what: &str| Err(ApiError::invalid("invalid_env", format!("`env` {what}.")));
    if env.len() > VARIABLES {
        return bad("has more than 1000 variables");
    }
    for (name, value) in &env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return bad("has a variable whose name is empty or holds `=` or NUL");
        }
        if value.contains('\0') || name.len() + value.len() > VARIABLE {
            return bad("has a variable that is too long or holds NUL");
        }
    }
    Ok(env)
}

impl CreateBuildRequest {
    fn submission(self, id: crate::BuildId, uploaded: SourceArchive) -> ApiResult<Submission> {
        if self.source_b64.is_some_and(|rest| !rest.is_empty()) {
            // Only a key written with escapes gets past the splitter.
            let message = "Write the key `source_b64` without escapes.";
            return Err(ApiError::invalid("invalid_request", message));
        }
        let sha256 = self.source_sha256.filter(|text| !text.is_empty());
        if let Some(text) = &sha256
            && (text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let message = "`source_sha256` is no SHA-256 digest in hexadecimal.";
            return Err(ApiError::invalid("invalid_request", message));
        }
        let url = self.source_url.filter(|url| !url.is_empty());
        let archive = match (uploaded, url) {
            (SourceArchive::Uploaded { sha256: found, .. }, _)
                if sha256
                    .as_ref()
                    .is_some_and(|told| !told.eq_ignore_ascii_case(&found)) =>
            {
                let message = format!(
                    "The source archive has the SHA-256 digest {found}, not the one in `source_sha256`."
                );
                return Err(ApiError::invalid("source_digest_mismatch", message));
            }
            (SourceArchive::None, Some(url)) => {
                let url = text::prose("source_url", &url, 2000)?;
                if !url.starts_with("https://") && !url.starts_with("http://") {
                    return Err(ApiError::invalid(
                        "invalid_request",
                        "`source_url` is no http or https URL.",
                    ));
                }
                SourceArchive::Url { url, sha256 }
            }
            (uploaded, _) => uploaded,
        };
        let Some(plan) = self.pipeline_ir.filter(|plan| !plan.trim().is_empty()) else {
            let message = "`pipeline_ir` is missing: this server runs plans, it does not render them. `hm run --backend cloud` sends one.";
            return Err(ApiError::invalid("plan_missing", message));
        };
        let message = self
            .message
            .map(|message| text::prose("message", &message, MESSAGE));
        let trigger = text::maybe_line("source", self.source.as_deref())?;
        Ok(Submission {
            id,
            branch: text::line("branch", text::cut(&self.branch))?,
            commit: text::line("commit", &self.commit)?,
            message: message.transpose()?,
            trigger: trigger.unwrap_or_else(|| "api".to_owned()),
            env: environment(self.env)?,
            options: self
                .run_options
                .map_or_else(|| Ok(BuildOptions::default()), options::parse)?,
            archive,
            plan: text::prose("pipeline_ir", &plan, usize::MAX)?,
            note: None,
        })
    }
}

async fn submit(
    app: &App,
    pipeline: &model::Pipeline,
    upload: Upload<CreateBuildRequest>,
) -> ApiResult<Response> {
    let name = BlobName::source(upload.id);
    let submitted = async {
        if !pipeline.allow_manual {
            let message = format!("Pipeline `{}` is not built by hand.", pipeline.slug);
            return Err(ApiError::forbidden("manual_builds_disabled", message));
        }
        let submission = upload.description.submission(upload.id, upload.archive)?;
        Ok(app.submit(pipeline, submission).await?)
    }
    .await;
    match submitted {
        Ok(build) => Ok(answer(StatusCode::CREATED, build, pipeline)),
        Err(error) => {
            app.blobs.remove(&name).await?;
            Err(error)
        }
    }
}

/// Create a build
#[utoipa::path(post, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds", operation_id = "createBuild", tag = "builds",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug.")),
    request_body = CreateBuildRequest,
    responses((status = 201, description = "The created build", body = Build),
        (status = 403, description = "Manual builds are disabled for this pipeline", body = ErrorBody),
        (status = 404, description = "No such organization or pipeline", body = ErrorBody),
        (status = 422, description = "The pipeline IR was rejected", body = ErrorBody)))]
pub(super) async fn create(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline)): Path<(String, String)>,
    request: Request,
) -> ApiResult<Response> {
    let pipeline = pipelines::find(&state, &scope, &pipeline).await?;
    let upload = upload::receive(&state, request).await?;
    submit(&state, &pipeline, upload).await
}

/// Create a build by repo + source slug
#[utoipa::path(post, path = "/api/v0/organizations/{org}/builds", operation_id = "createBuildBySource", tag = "builds",
    params(("org" = String, Path, description = "The organization slug.")),
    request_body = CreateRepoBuildRequest,
    responses((status = 201, description = "The created build", body = Build),
        (status = 403, description = "Manual builds are disabled for this pipeline", body = ErrorBody),
        (status = 404, description = "No pipeline for that repo + source slug", body = ErrorBody),
        (status = 422, description = "The pipeline IR was rejected", body = ErrorBody)))]
pub(super) async fn create_by_source(
    state: Ctx,
    scope: Extension<Scope>,
    request: Request,
) -> ApiResult<Response> {
    let upload: Upload<CreateRepoBuildRequest> = upload::receive(&state, request).await?;
    let body = upload.description;
    let found = state
        .store
        .pipeline_of_source(scope.org.id, &body.repo_name, &body.source_slug)
        .await;
    let pipeline = match found {
        Ok(Some(pipeline)) => pipeline,
        found => {
            state.blobs.remove(&BlobName::source(upload.id)).await?;
            found?;
            let message = format!(
                "`{}` has no pipeline `{}` of the repository `{}`. Create it first.",
                scope.org.slug, body.source_slug, body.repo_name
            );
            return Err(ApiError::not_found("pipeline_not_found", message));
        }
    };
    let upload = Upload {
        id: upload.id,
        archive: upload.archive,
        description: CreateBuildRequest {
            branch: body.branch,
            commit: body.commit,
            message: body.message,
            source: body.source,
            env: body.env,
            pipeline_ir: body.pipeline_ir,
            run_options: body.run_options,
            source_b64: body.source_b64,
            source_sha256: None,
            source_url: None,
        },
    };
    submit(&state, &pipeline, upload).await
}

/// List a pipeline's builds
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds", operation_id = "listBuilds", tag = "builds",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."), PageQuery),
    responses((status = 200, description = "The pipeline's builds", body = BuildList),
        (status = 404, description = "No such organization or pipeline", body = ErrorBody)))]
pub(super) async fn list(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline)): Path<(String, String)>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<BuildList>> {
    let pipeline = pipelines::find(&state, &scope, &pipeline).await?;
    let before = match page.after()? {
        None => i64::MAX,
        Some(number) => number.parse().map_err(|_| bad_cursor())?,
    };
    let mut builds = state.store.builds(pipeline.id, before, page.peek()).await?;
    let next_cursor = page.cut(&mut builds, |build| build.number.to_string());
    Ok(Answer(BuildList {
        data: builds
            .into_iter()
            .map(|build| Build::new(build, &pipeline))
            .collect(),
        next_cursor,
    }))
}

/// Get a build
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}", operation_id = "getBuild", tag = "builds",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."),
        ("number" = i64, Path, description = "The build number.")),
    responses((status = 200, description = "The build", body = Build),
        (status = 404, description = "No such build in this pipeline", body = ErrorBody)))]
pub(super) async fn get(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, i64)>,
) -> ApiResult<Response> {
    let (pipeline, build) = find(&state, &scope, &pipeline, number).await?;
    let waits_for = state.waits_for(&build).await?;
    Ok(answer_with(StatusCode::OK, build, &pipeline, waits_for))
}

/// Cancel a build
#[utoipa::path(put, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/cancel", operation_id = "cancelBuild", tag = "builds",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."),
        ("number" = i64, Path, description = "The build number.")),
    responses((status = 200, description = "The cancelled build", body = Build),
        (status = 404, description = "No such build in this pipeline", body = ErrorBody)))]
pub(super) async fn cancel(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, slug, number)): Path<(String, String, i64)>,
) -> ApiResult<Response> {
    let (_, build) = find(&state, &scope, &slug, number).await?;
    state.cancel(&build).await?;
    let (pipeline, build) = find(&state, &scope, &slug, number).await?;
    Ok(answer(StatusCode::OK, build, &pipeline))
}

/// Mint a build-scoped log token
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/log-token", operation_id = "getBuildLogToken", tag = "builds",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."),
        ("number" = i64, Path, description = "The build number.")),
    responses((status = 200, description = "The log token and its expiry", body = LogTokenResponse),
        (status = 404, description = "No such build in this pipeline", body = ErrorBody)))]
pub(super) async fn log_token(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, i64)>,
) -> ApiResult<Answer<LogTokenResponse>> {
    let (_, build) = find(&state, &scope, &pipeline, number).await?;
    let expires_at = Utc::now() + LOG_TOKEN;
    Ok(Answer(LogTokenResponse {
        token: state.signer.log_token(build.id, expires_at),
        expires_at,
    }))
}
