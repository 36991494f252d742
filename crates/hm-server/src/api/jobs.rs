//! Jobs: the steps of a build.

use axum::{Extension, Json as Answer};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::Path;
use super::{ApiError, ApiResult, Ctx, builds};
use crate::auth::Scope;
use crate::error::ErrorBody;
use crate::model::{self, JobState};

/// One job (DAG node) of a build.
#[derive(Serialize, ToSchema)]
pub(super) struct Job {
    /// The job's id.
    id: Uuid,
    /// The job's stable key within the build's DAG.
    step_key: Option<String>,
    /// Human-readable job name.
    name: Option<String>,
    /// The shell command the job runs.
    command: Option<String>,
    /// Ids of this job's prerequisite jobs (its DAG in-edges), of both dependency kinds.
    depends_on: Vec<Uuid>,
    #[schema(inline)]
    state: JobState,
    /// The command's exit status, once finished.
    exit_code: Option<i32>,
    /// Whether the job failed but the build was allowed to continue.
    soft_failed: bool,
    /// The job's retry policy, if any.
    #[schema(value_type = Option<Object>)]
    retry_policy: Option<Map<String, Value>>,
    /// The job's soft-fail policy, if any.
    #[schema(value_type = Option<Object>)]
    soft_fail_policy: Option<Map<String, Value>>,
    /// Stable job-level error code, if the job failed.
    error_code: Option<String>,
    /// Human-readable job-level error message, if any.
    error_message: Option<String>,
    /// When the job row was created.
    created_at: DateTime<Utc>,
    /// When the job started running.
    started_at: Option<DateTime<Utc>>,
    /// When the job reached a terminal state.
    finished_at: Option<DateTime<Utc>>,
}

impl From<model::Job> for Job {
    fn from(job: model::Job) -> Self {
        let code = match job.state {
            JobState::Failed => Some("command_failed"),
            JobState::TimedOut => Some("timed_out"),
            _ => None,
        };
        Self {
            id: job.id.0,
            step_key: Some(job.key),
            name: Some(job.name),
            command: Some(job.command),
            depends_on: job.depends_on.into_iter().map(|id| id.0).collect(),
            state: job.state,
            exit_code: job.exit_code,
            soft_failed: job.soft_failed,
            retry_policy: None,
            soft_fail_policy: None,
            error_code: code.map(str::to_owned),
            error_message: job.message,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

/// A build's jobs, in DAG creation order.
#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    /// The build's jobs.
    data: Vec<Job>,
}

/// List a build's jobs
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/jobs", operation_id = "listJobs", tag = "jobs",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."),
        ("number" = i64, Path, description = "The build number.")),
    responses((status = 200, description = "The build's jobs", body = JobList),
        (status = 404, description = "No such build in this pipeline", body = ErrorBody)))]
pub(super) async fn list(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, i64)>,
) -> ApiResult<Answer<JobList>> {
    let (_, build) = builds::find(&state, &scope, &pipeline, number).await?;
    let jobs = state.store.jobs(build.id).await?;
    Ok(Answer(JobList {
        data: jobs.into_iter().map(Job::from).collect(),
    }))
}

/// Get a job
#[utoipa::path(get, path = "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/jobs/{job_id}", operation_id = "getJob", tag = "jobs",
    params(("org" = String, Path, description = "The organization slug."),
        ("pipeline" = String, Path, description = "The pipeline slug."),
        ("number" = i64, Path, description = "The build number."),
        ("job_id" = String, Path, description = "The job id.")),
    responses((status = 200, description = "The job", body = Job),
        (status = 404, description = "No such job in this build", body = ErrorBody)))]
pub(super) async fn get(
    state: Ctx,
    scope: Extension<Scope>,
    Path((_, pipeline, number, job)): Path<(String, String, i64, String)>,
) -> ApiResult<Answer<Job>> {
    let (_, build) = builds::find(&state, &scope, &pipeline, number).await?;
    let missing = || ApiError::not_found("job_not_found", format!("Build #{number} has no such job."));
    let id = job.parse().map_err(|_| missing())?;
    let job = state.store.job(id).await?.filter(|job| job.build == build.id);
    job.map(|job| Answer(job.into())).ok_or_else(missing)
}
