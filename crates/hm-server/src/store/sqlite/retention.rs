//! What is kept of builds, in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use super::row::{id, micros, word};
use crate::BuildId;
use crate::store::{Kept, Result, Retention};

/// Ended builds that still have it, the oldest first, and how many bytes each takes of what is counted.
const fn candidates(what: Kept) -> &'static str {
    match what {
        Kept::Log => {
            "SELECT id, 0 FROM builds WHERE log_removed_at IS NULL AND finished_at <= $1 AND sealed \
             AND state IN ('passed', 'failed', 'canceled') ORDER BY finished_at LIMIT $2"
        }
        Kept::Source => {
            "SELECT id, source_bytes FROM builds WHERE source_removed_at IS NULL AND source_bytes IS NOT NULL \
             AND finished_at <= $1 AND sealed AND state IN ('passed', 'failed', 'canceled') \
             ORDER BY finished_at LIMIT $2"
        }
    }
}

async fn give_up(
    transaction: &mut Transaction<'_, Sqlite>,
    build: &str,
    what: Kept,
    now: DateTime<Utc>,
) -> Result<()> {
    let statement = match what {
        Kept::Log => "UPDATE builds SET log_removed_at = $2 WHERE id = $1",
        Kept::Source => "UPDATE builds SET source_removed_at = $2 WHERE id = $1",
    };
    sqlx::query(statement)
        .bind(build)
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    sqlx::query(
        "INSERT INTO removals (build_id, what) VALUES ($1, $2) ON CONFLICT (build_id, what) DO NOTHING",
    )
    .bind(build)
    .bind(what.as_str())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[async_trait]
impl Retention for SqliteStore {
    async fn give_up(
        &self,
        what: Kept,
        ended_until: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64> {
        let mut transaction = self.database.begin().await?;
        let found: Vec<(String, i64)> = sqlx::query_as(candidates(what))
            .bind(micros(ended_until))
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await?;
        for (build, _) in &found {
            give_up(&mut transaction, build, what, now).await?;
        }
        self.database.commit(transaction).await?;
        Ok(found.len() as u64)
    }

    async fn give_up_sources(&self, bytes: u64, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let most = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut transaction = self.database.begin().await?;
        let mut kept: i64 = sqlx::query_scalar(
            "SELECT COALESCE(SUM(source_bytes), 0) FROM builds WHERE source_removed_at IS NULL \
             AND source_bytes IS NOT NULL",
        )
        .fetch_one(&mut *transaction)
        .await?;
        if kept <= most {
            return Ok(0);
        }
        let found: Vec<(String, i64)> = sqlx::query_as(candidates(Kept::Source))
            .bind(micros(now))
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await?;
        let mut given_up = 0;
        for (build, bytes) in &found {
            if kept <= most {
                break;
            }
            give_up(&mut transaction, build, Kept::Source, now).await?;
            kept -= bytes;
            given_up += 1;
        }
        self.database.commit(transaction).await?;
        Ok(given_up)
    }

    async fn removals(&self, limit: u32) -> Result<Vec<(BuildId, Kept)>> {
        let rows = sqlx::query("SELECT build_id, what FROM removals ORDER BY build_id, what LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(self.database.reader())
            .await?;
        rows.iter()
            .map(|row| Ok((id(row, "build_id")?, word(row, "what", Kept::parse)?)))
            .collect()
    }

    async fn removed(&self, build: BuildId, what: Kept) -> Result<()> {
        sqlx::query("DELETE FROM removals WHERE build_id = $1 AND what = $2")
            .bind(build.to_string())
            .bind(what.as_str())
            .execute(self.database.writer())
            .await?;
        self.database.durable().await?;
        Ok(())
    }

    async fn forget_void(&self, now: DateTime<Utc>, expired: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.database.begin().await?;
        sqlx::query(
            "DELETE FROM tokens WHERE revoked_at IS NOT NULL OR expires_at <= $2 \
             OR (kind = 'session' AND expires_at <= $1)",
        )
        .bind(micros(now))
        .bind(micros(expired))
        .execute(&mut *transaction)
        .await?;
        for statement in [
            "DELETE FROM logins WHERE expires_at <= $1",
            "DELETE FROM invites WHERE expires_at <= $1",
        ] {
            sqlx::query(statement)
                .bind(micros(now))
                .execute(&mut *transaction)
                .await?;
        }
        self.database.commit(transaction).await?;
        Ok(())
    }
}
