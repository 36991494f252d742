//! Rows of jobs.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::row::{flag, id, json, maybe_number, maybe_text, maybe_time, micros, text, time, word};
use crate::BuildId;
use crate::model::{Job, JobChange, JobState, NewJob};
use crate::store::{Result, StoreError};

pub(super) fn job(row: &SqliteRow) -> Result<Job> {
    let code = maybe_number(row, "exit_code")?;
    Ok(Job {
        id: id(row, "id")?,
        build: id(row, "build_id")?,
        key: text(row, "step_key")?,
        name: text(row, "name")?,
        command: text(row, "command")?,
        depends_on: json(row, "depends_on")?,
        state: word(row, "state", JobState::parse)?,
        exit_code: code
            .map(i32::try_from)
            .transpose()
            .map_err(|_| StoreError::Damaged("exit_code"))?,
        soft_failed: flag(row, "soft_failed")?,
        message: maybe_text(row, "message")?,
        created_at: time(row, "created_at")?,
        started_at: maybe_time(row, "started_at")?,
        finished_at: maybe_time(row, "finished_at")?,
    })
}

pub(super) async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    build: BuildId,
    jobs: &[NewJob],
    now: DateTime<Utc>,
) -> Result<()> {
    for (place, job) in (0_i64..).zip(jobs) {
        sqlx::query(
            "INSERT INTO jobs (id, build_id, place, step_key, name, command, depends_on, state, soft_failed, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', FALSE, $8)",
        )
        .bind(job.id.to_string())
        .bind(build.to_string())
        .bind(place)
        .bind(&job.key)
        .bind(&job.name)
        .bind(&job.command)
        .bind(serde_json::to_string(&job.depends_on).map_err(|_| StoreError::Damaged("depends_on"))?)
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// The attempt before has left its marks.
pub(super) async fn start_over(transaction: &mut Transaction<'_, Sqlite>, build: BuildId) -> Result<()> {
    sqlx::query(
        "UPDATE jobs SET state = 'pending', exit_code = NULL, soft_failed = FALSE, message = NULL, \
         started_at = NULL, finished_at = NULL WHERE build_id = $1 AND state <> 'pending'",
    )
    .bind(build.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) async fn change(
    transaction: &mut Transaction<'_, Sqlite>,
    build: BuildId,
    change: &JobChange,
    now: DateTime<Utc>,
) -> Result<()> {
    let started = matches!(change.state, JobState::Running).then(|| micros(now));
    let finished = change.state.is_terminal().then(|| micros(now));
    sqlx::query(
        "UPDATE jobs SET state = $3, exit_code = COALESCE($4, exit_code), soft_failed = $5, \
         message = COALESCE($6, message), started_at = COALESCE(started_at, $7), \
         finished_at = COALESCE(finished_at, $8) WHERE id = $1 AND build_id = $2 \
         AND state NOT IN ('passed', 'failed', 'skipped', 'canceled', 'timed_out')",
    )
    .bind(change.id.to_string())
    .bind(build.to_string())
    .bind(change.state.as_str())
    .bind(change.exit_code.map(i64::from))
    .bind(change.soft_failed)
    .bind(&change.message)
    .bind(started)
    .bind(finished)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What has not ended will not.
pub(super) async fn end_all(
    transaction: &mut Transaction<'_, Sqlite>,
    build: BuildId,
    state: JobState,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE jobs SET state = $2, finished_at = $3 WHERE build_id = $1 \
         AND state NOT IN ('passed', 'failed', 'skipped', 'canceled', 'timed_out')",
    )
    .bind(build.to_string())
    .bind(state.as_str())
    .bind(micros(now))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
