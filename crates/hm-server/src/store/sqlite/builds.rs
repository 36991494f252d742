//! Builds in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::row::{id, json, maybe_number, maybe_text, maybe_time, micros, number, text, time, word};
use super::{SqliteStore, jobs};
use crate::model::{Attempt, Build, BuildState, Ending, Job, JobChange, JobState, NewBuild, SourceArchive};
use crate::store::{Builds, CancelRequest, RecentBuilds, Result, StoreError};
use crate::{BuildId, JobId, PipelineId};

fn build(row: &SqliteRow) -> Result<Build> {
    let unsigned = |value: i64, column| u64::try_from(value).map_err(|_| StoreError::Damaged(column));
    let sha256 = maybe_text(row, "source_sha256")?;
    let archive = match (maybe_number(row, "source_bytes")?, maybe_text(row, "source_url")?) {
        (Some(bytes), _) => SourceArchive::Uploaded {
            bytes: unsigned(bytes, "source_bytes")?,
            sha256: sha256.ok_or(StoreError::Damaged("source_sha256"))?,
        },
        (None, Some(url)) => SourceArchive::Url { url, sha256 },
        (None, None) => SourceArchive::None,
    };
    Ok(Build {
        id: id(row, "id")?,
        org: id(row, "org_id")?,
        pipeline: id(row, "pipeline_id")?,
        number: number(row, "number")?,
        state: word(row, "state", BuildState::parse)?,
        branch: text(row, "branch")?,
        commit: text(row, "commit_sha")?,
        message: maybe_text(row, "message")?,
        trigger: text(row, "cause")?,
        env: json(row, "env")?,
        options: json(row, "options")?,
        archive,
        error_code: maybe_text(row, "error_code")?,
        error_message: maybe_text(row, "error_message")?,
        created_at: time(row, "created_at")?,
        scheduled_at: maybe_time(row, "scheduled_at")?,
        started_at: maybe_time(row, "started_at")?,
        finished_at: maybe_time(row, "finished_at")?,
        attempt: number(row, "attempt")?,
        base_seq: unsigned(number(row, "base_seq")?, "base_seq")?,
        log_removed_at: maybe_time(row, "log_removed_at")?,
        source_removed_at: maybe_time(row, "source_removed_at")?,
    })
}

/// Every column but the plan, which may be large and is seldom asked for.
macro_rules! columns {
    () => {
        "id, org_id, pipeline_id, number, state, branch, commit_sha, message, cause, env, options, source_bytes, \
         source_url, source_sha256, error_code, error_message, created_at, scheduled_at, started_at, finished_at, attempt, base_seq, \
         log_removed_at, source_removed_at"
    };
}

fn stored(value: u64, column: &'static str) -> Result<i64> {
    i64::try_from(value).map_err(|_| StoreError::Damaged(column))
}

#[async_trait]
impl Builds for SqliteStore {
    async fn create_build(&self, new: NewBuild, now: DateTime<Utc>) -> Result<Build> {
        let (bytes, url, sha256) = match &new.archive {
            SourceArchive::None => (None, None, None),
            SourceArchive::Uploaded { bytes, sha256 } => {
                (Some(stored(*bytes, "source_bytes")?), None, Some(sha256.clone()))
            }
            SourceArchive::Url { url, sha256 } => (None, Some(url.clone()), sha256.clone()),
        };
        let state = if new.rejected.is_some() {
            BuildState::Failed
        } else {
            BuildState::Scheduled
        };
        let (code, message) = new.rejected.unzip();
        let env = serde_json::to_string(&new.env).map_err(|_| StoreError::Damaged("env"))?;
        let options = serde_json::to_string(&new.options).map_err(|_| StoreError::Damaged("options"))?;
        let mut transaction = self.database.begin().await?;
        let number: i64 = sqlx::query_scalar(
            "UPDATE pipelines SET last_number = last_number + 1 WHERE id = $1 RETURNING last_number",
        )
        .bind(new.pipeline.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        let row = sqlx::query(concat!(
            "INSERT INTO builds (id, org_id, pipeline_id, number, state, branch, commit_sha, message, cause, env, \
             source_bytes, source_url, source_sha256, plan, error_code, error_message, created_at, scheduled_at, \
             finished_at, options, attempt, base_seq, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
             $14, $15, $16, $17, $18, $19, $20, 0, 0, FALSE) RETURNING ",
            columns!()
        ))
        .bind(new.id.to_string())
        .bind(new.org.to_string())
        .bind(new.pipeline.to_string())
        .bind(number)
        .bind(state.as_str())
        .bind(new.branch)
        .bind(new.commit)
        .bind(new.message)
        .bind(new.trigger)
        .bind(env)
        .bind(bytes)
        .bind(url)
        .bind(sha256)
        .bind(new.plan)
        .bind(code)
        .bind(message)
        .bind(micros(now))
        .bind((!state.is_terminal()).then(|| micros(now)))
        .bind(state.is_terminal().then(|| micros(now)))
        .bind(options)
        .fetch_one(&mut *transaction)
        .await?;
        jobs::insert(&mut transaction, new.id, &new.jobs, now).await?;
        self.database.commit(transaction).await?;
        build(&row)
    }

    async fn build(&self, pipeline: PipelineId, number: i64) -> Result<Option<Build>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM builds WHERE pipeline_id = $1 AND number = $2"
        ))
        .bind(pipeline.to_string())
        .bind(number)
        .fetch_optional(self.database.reader())
        .await?;
        row.as_ref().map(build).transpose()
    }

    async fn build_by_id(&self, id: BuildId) -> Result<Option<Build>> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM builds WHERE id = $1"))
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(build).transpose()
    }

    async fn plan(&self, id: BuildId) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT plan FROM builds WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?)
    }

    async fn runner_hash(&self, id: BuildId) -> Result<Option<String>> {
        let hash: Option<Option<String>> = sqlx::query_scalar("SELECT runner_hash FROM builds WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        Ok(hash.flatten())
    }

    async fn builds(&self, pipeline: PipelineId, before: i64, limit: u32) -> Result<Vec<Build>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM builds WHERE pipeline_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
        ))
        .bind(pipeline.to_string())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(self.database.reader())
        .await?;
        rows.iter().map(build).collect()
    }

    async fn recent_builds(&self, wanted: &RecentBuilds) -> Result<Vec<Build>> {
        let mut query = QueryBuilder::<Sqlite>::new(concat!(
            "SELECT ",
            columns!(),
            " FROM builds WHERE org_id IN (SELECT org_id FROM members WHERE user_id = "
        ));
        query.push_bind(wanted.user.to_string()).push(")");
        if let Some(org) = wanted.org {
            query.push(" AND org_id = ").push_bind(org.to_string());
        }
        if let Some(pipeline) = wanted.pipeline {
            query.push(" AND pipeline_id = ").push_bind(pipeline.to_string());
        }
        if !wanted.states.is_empty() {
            query.push(" AND state IN (");
            let mut states = query.separated(", ");
            for state in &wanted.states {
                states.push_bind(state.as_str());
            }
            query.push(")");
        }
        if let Some(before) = wanted.before {
            query.push(" AND id < ").push_bind(before.to_string());
        }
        // Ids grow with time.
        query
            .push(" ORDER BY id DESC LIMIT ")
            .push_bind(i64::from(wanted.limit));
        let rows = query.build().fetch_all(self.database.reader()).await?;
        rows.iter().map(build).collect()
    }

    async fn jobs(&self, build: BuildId) -> Result<Vec<Job>> {
        let rows = sqlx::query("SELECT * FROM jobs WHERE build_id = $1 ORDER BY place")
            .bind(build.to_string())
            .fetch_all(self.database.reader())
            .await?;
        rows.iter().map(jobs::job).collect()
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(jobs::job).transpose()
    }

    async fn begin_attempt(&self, id: BuildId, attempt: &Attempt, now: DateTime<Utc>) -> Result<bool> {
        let mut transaction = self.database.begin().await?;
        let done = sqlx::query(
            "UPDATE builds SET state = 'running', attempt = $2, base_seq = $3, runner_hash = $4, \
             started_at = COALESCE(started_at, $5) WHERE id = $1 AND state = 'scheduled' AND attempt < $2",
        )
        .bind(id.to_string())
        .bind(attempt.number)
        .bind(stored(attempt.base_seq, "base_seq")?)
        .bind(attempt.runner.as_str())
        .bind(micros(now))
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        jobs::start_over(&mut transaction, id).await?;
        self.database.commit(transaction).await?;
        Ok(true)
    }

    async fn abandon_attempt(&self, id: BuildId, attempt: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE builds SET state = 'scheduled', runner_hash = NULL WHERE id = $1 AND attempt = $2 \
             AND state IN ('running', 'failing')",
        )
        .bind(id.to_string())
        .bind(attempt)
        .execute(self.database.writer())
        .await?;
        self.database.durable().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn change_jobs(
        &self,
        id: BuildId,
        attempt: i64,
        changes: &[JobChange],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = self.database.begin().await?;
        let failed = changes.iter().any(|change| {
            matches!(change.state, JobState::Failed | JobState::TimedOut) && !change.soft_failed
        });
        let done = sqlx::query(
            "UPDATE builds SET state = CASE WHEN $3 AND state = 'running' THEN 'failing' ELSE state END \
             WHERE id = $1 AND attempt = $2 AND state IN ('running', 'failing', 'canceling')",
        )
        .bind(id.to_string())
        .bind(attempt)
        .bind(failed)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for change in changes {
            jobs::change(&mut transaction, id, change, now).await?;
        }
        self.database.commit(transaction).await?;
        Ok(true)
    }

    async fn cancel_build(&self, id: BuildId, now: DateTime<Utc>) -> Result<CancelRequest> {
        let mut transaction = self.database.begin().await?;
        let unstarted = sqlx::query(
            "UPDATE builds SET state = 'canceled', finished_at = $2 WHERE id = $1 AND state = 'scheduled'",
        )
        .bind(id.to_string())
        .bind(micros(now))
        .execute(&mut *transaction)
        .await?;
        if unstarted.rows_affected() > 0 {
            jobs::end_all(&mut transaction, id, JobState::Canceled, now).await?;
            self.database.commit(transaction).await?;
            return Ok(CancelRequest::Canceled);
        }
        let running = sqlx::query(
            "UPDATE builds SET state = 'canceling' WHERE id = $1 AND state IN ('running', 'failing')",
        )
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await?;
        self.database.commit(transaction).await?;
        Ok(if running.rows_affected() > 0 {
            CancelRequest::Canceling
        } else {
            CancelRequest::Nothing
        })
    }

    async fn finish_build(
        &self,
        id: BuildId,
        attempt: i64,
        ending: &Ending,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = self.database.begin().await?;
        let done = sqlx::query(
            "UPDATE builds SET state = $3, error_code = $4, error_message = $5, finished_at = $6, \
             runner_hash = NULL WHERE id = $1 AND attempt = $2 \
             AND state IN ('running', 'failing', 'canceling')",
        )
        .bind(id.to_string())
        .bind(attempt)
        .bind(ending.state.as_str())
        .bind(&ending.error_code)
        .bind(&ending.error_message)
        .bind(micros(now))
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let rest = match ending.state {
            BuildState::Canceled => JobState::Canceled,
            _ => JobState::Skipped,
        };
        jobs::end_all(&mut transaction, id, rest, now).await?;
        self.database.commit(transaction).await?;
        Ok(true)
    }

    async fn seal_build(&self, id: BuildId) -> Result<()> {
        sqlx::query("UPDATE builds SET sealed = TRUE WHERE id = $1")
            .bind(id.to_string())
            .execute(self.database.writer())
            .await?;
        self.database.durable().await?;
        Ok(())
    }

    async fn unsealed_builds(&self, limit: u32) -> Result<Vec<Build>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM builds WHERE NOT sealed AND state IN ('passed', 'failed', 'canceled') ORDER BY id LIMIT $1"
        ))
        .bind(i64::from(limit))
        .fetch_all(self.database.reader())
        .await?;
        rows.iter().map(build).collect()
    }

    async fn scheduled_builds(&self, after: Option<BuildId>, limit: u32) -> Result<Vec<Build>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM builds WHERE state = 'scheduled' AND id > $1 ORDER BY id LIMIT $2"
        ))
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(self.database.reader())
        .await?;
        rows.iter().map(build).collect()
    }
}
