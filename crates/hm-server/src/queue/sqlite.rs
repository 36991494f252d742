//! The embedded queue: a table in the store's database.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

use super::waiters::Waiters;
use crate::queue::{Fence, Lease, LeaseRequest, NewItem, Queue, Result, Waiting};
use crate::store::row::{id, json, micros, number, text, time};
use crate::store::{Database, StoreError};
use crate::{BuildId, OrgId};

/// The labels that builds of an organization wait for, each once: thousands of builds that nobody can take cost no more than one.
const WANTED: &str = "WITH RECURSIVE wanted (labels) AS ( \
       SELECT MIN(labels) FROM queue WHERE org_id = $1 AND agent IS NULL \
       UNION ALL SELECT (SELECT MIN(labels) FROM queue WHERE org_id = $1 AND agent IS NULL AND labels > wanted.labels) \
       FROM wanted WHERE wanted.labels IS NOT NULL) \
     SELECT labels FROM wanted WHERE labels IS NOT NULL";

/// A [`Queue`] on SQLite.
#[derive(Debug)]
pub struct SqliteQueue {
    database: Database,
    waiters: Waiters,
}

impl SqliteQueue {
    /// A queue on this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            waiters: Waiters::default(),
        }
    }

    /// Wakes who may take what this row is of.
    fn arrived(&self, row: &SqliteRow) -> Result<()> {
        self.waiters.arrived(id(row, "org_id")?, &json(row, "labels")?);
        Ok(())
    }

    /// Puts a leased build back among the waiting, where it stood.
    async fn put_back(&self, fence: Fence, ready: DateTime<Utc>, lost: bool) -> Result<bool> {
        let row = sqlx::query(
            "UPDATE queue SET agent = NULL, until = NULL, losses = losses + $3, returns = returns + $4, ready = $5 \
             WHERE build_id = $1 AND attempt = $2 AND agent IS NOT NULL RETURNING org_id, labels",
        )
        .bind(fence.build.to_string())
        .bind(fence.attempt)
        .bind(i64::from(lost))
        .bind(i64::from(!lost))
        .bind(micros(ready))
        .fetch_optional(self.database.writer())
        .await?;
        self.database.durable().await?;
        if let Some(row) = &row {
            self.arrived(row)?;
        }
        Ok(row.is_some())
    }

    /// The longest waiting build that an agent may take.
    async fn longest_waiting(&self, request: &LeaseRequest) -> Result<Option<BuildId>> {
        let wanted = sqlx::query(WANTED)
            .bind(request.org.to_string())
            .fetch_all(self.database.reader())
            .await?;
        let mut longest: Option<(i64, BuildId)> = None;
        for row in &wanted {
            let labels: BTreeSet<String> = json(row, "labels")?;
            if !labels.is_subset(&request.labels) {
                continue;
            }
            let first = sqlx::query(
                "SELECT place, build_id FROM queue WHERE org_id = $1 AND labels = $2 AND agent IS NULL AND ready <= $3 \
                 ORDER BY place, build_id LIMIT 1",
            )
            .bind(request.org.to_string())
            .bind(text(row, "labels")?)
            .bind(micros(request.now))
            .fetch_optional(self.database.reader())
            .await?;
            if let Some(first) = first {
                let found = (number(&first, "place")?, id(&first, "build_id")?);
                longest = longest.map_or(Some(found), |longest| Some(longest.min(found)));
            }
        }
        Ok(longest.map(|(_, build)| build))
    }
}

fn written(labels: &BTreeSet<String>) -> Result<String> {
    serde_json::to_string(labels).map_err(|_| StoreError::Damaged("labels"))
}

fn lease(row: &SqliteRow) -> Result<Lease> {
    Ok(Lease {
        fence: Fence {
            build: id(row, "build_id")?,
            attempt: number(row, "attempt")?,
        },
        losses: u32::try_from(number(row, "losses")?).map_err(|_| StoreError::Damaged("losses"))?,
        returns: u32::try_from(number(row, "returns")?).map_err(|_| StoreError::Damaged("returns"))?,
        agent: text(row, "agent")?,
        until: time(row, "until")?,
    })
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn enqueue(&self, item: NewItem, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "INSERT INTO queue (build_id, org_id, labels, place, attempt, losses) VALUES ($1, $2, $3, $4, 0, 0) \
             ON CONFLICT (build_id) DO NOTHING",
        )
        .bind(item.build.to_string())
        .bind(item.org.to_string())
        .bind(written(&item.labels)?)
        .bind(micros(now))
        .execute(self.database.writer())
        .await?;
        // What a power cut takes of it is queued again at the server's start, because the store has it as scheduled.
        self.waiters.arrived(item.org, &item.labels);
        Ok(())
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>> {
        while let Some(build) = self.longest_waiting(request).await? {
            let row = sqlx::query(
                "UPDATE queue SET agent = $2, until = $3, attempt = attempt + 1 WHERE build_id = $1 AND agent IS NULL \
                 RETURNING *",
            )
            .bind(build.to_string())
            .bind(&request.agent)
            .bind(micros(request.until))
            .fetch_optional(self.database.writer())
            .await?;
            // Another agent may have been faster.
            if let Some(row) = row {
                self.database.durable().await?;
                return lease(&row).map(Some);
            }
        }
        Ok(None)
    }

    fn arrivals(&self, org: OrgId, labels: &BTreeSet<String>) -> watch::Receiver<u64> {
        self.waiters.watch(org, labels)
    }

    async fn extend(&self, fence: Fence, until: DateTime<Utc>) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE queue SET until = $3 WHERE build_id = $1 AND attempt = $2 AND agent IS NOT NULL",
        )
        .bind(fence.build.to_string())
        .bind(fence.attempt)
        .bind(micros(until))
        .execute(self.database.writer())
        .await?;
        // A lease that a power cut shortens is extended again by whoever has it.
        Ok(done.rows_affected() > 0)
    }

    async fn renew_all(&self, until: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.database.begin().await?;
        sqlx::query("UPDATE queue SET until = $1 WHERE agent IS NOT NULL")
            .bind(micros(until))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE queue SET ready = 0 WHERE agent IS NULL AND ready > 0")
            .execute(&mut *transaction)
            .await?;
        self.database.commit(transaction).await
    }

    async fn leased(&self, fence: Fence) -> Result<Option<Lease>> {
        let row =
            sqlx::query("SELECT * FROM queue WHERE build_id = $1 AND attempt = $2 AND agent IS NOT NULL")
                .bind(fence.build.to_string())
                .bind(fence.attempt)
                .fetch_optional(self.database.reader())
                .await?;
        row.as_ref().map(lease).transpose()
    }

    async fn waiting(&self, build: BuildId) -> Result<Option<Waiting>> {
        let row = sqlx::query(
            "SELECT labels, (SELECT COUNT(*) FROM queue AS other WHERE other.org_id = queue.org_id AND other.agent IS NULL \
             AND other.place < queue.place) AS ahead FROM queue WHERE build_id = $1 AND agent IS NULL",
        )
        .bind(build.to_string())
        .fetch_optional(self.database.reader())
        .await?;
        let waiting = |row: &SqliteRow| {
            Ok(Waiting {
                labels: json(row, "labels")?,
                ahead: u64::try_from(number(row, "ahead")?).unwrap_or(0),
            })
        };
        row.as_ref().map(waiting).transpose()
    }

    async fn wanted(&self, since: DateTime<Utc>) -> Result<Vec<(OrgId, BTreeSet<String>)>> {
        let rows = sqlx::query(
            "SELECT DISTINCT org_id, labels FROM queue WHERE agent IS NULL AND NOT noted AND place <= $1",
        )
        .bind(micros(since))
        .fetch_all(self.database.reader())
        .await?;
        rows.iter()
            .map(|row| Ok((id(row, "org_id")?, json(row, "labels")?)))
            .collect()
    }

    async fn note(
        &self,
        org: OrgId,
        labels: &BTreeSet<String>,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<BuildId>> {
        let rows = sqlx::query(
            "UPDATE queue SET noted = TRUE WHERE build_id IN (SELECT build_id FROM queue WHERE org_id = $1 AND labels = $2 \
             AND agent IS NULL AND NOT noted AND place <= $3 ORDER BY place LIMIT $4) RETURNING build_id",
        )
        .bind(org.to_string())
        .bind(written(labels)?)
        .bind(micros(since))
        .bind(i64::from(limit))
        .fetch_all(self.database.writer())
        .await?;
        self.database.durable().await?;
        rows.iter().map(|row| id(row, "build_id")).collect()
    }

    async fn complete(&self, fence: Fence) -> Result<bool> {
        let done =
            sqlx::query("DELETE FROM queue WHERE build_id = $1 AND attempt = $2 AND agent IS NOT NULL")
                .bind(fence.build.to_string())
                .bind(fence.attempt)
                .execute(self.database.writer())
                .await?;
        self.database.durable().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn release(&self, fence: Fence, ready: DateTime<Utc>) -> Result<bool> {
        self.put_back(fence, ready, false).await
    }

    async fn requeue(&self, fence: Fence, ready: DateTime<Utc>) -> Result<bool> {
        self.put_back(fence, ready, true).await
    }

    async fn wake(&self, now: DateTime<Utc>) -> Result<()> {
        let due = "SELECT 1 FROM queue WHERE agent IS NULL AND ready > 0 AND ready <= $1 LIMIT 1";
        let due = sqlx::query(due)
            .bind(micros(now))
            .fetch_optional(self.database.reader());
        if due.await?.is_none() {
            return Ok(());
        }
        let rows = sqlx::query(
            "UPDATE queue SET ready = 0 WHERE agent IS NULL AND ready > 0 AND ready <= $1 RETURNING org_id, labels",
        )
        .bind(micros(now))
        .fetch_all(self.database.writer())
        .await?;
        rows.iter().try_for_each(|row| self.arrived(row))
    }

    async fn remove(&self, build: BuildId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM queue WHERE build_id = $1 AND agent IS NULL")
            .bind(build.to_string())
            .execute(self.database.writer())
            .await?;
        self.database.durable().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn expired(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Lease>> {
        let rows = sqlx::query(
            "SELECT * FROM queue WHERE agent IS NOT NULL AND until <= $1 ORDER BY until, build_id LIMIT $2",
        )
        .bind(micros(now))
        .bind(i64::from(limit))
        .fetch_all(self.database.reader())
        .await?;
        rows.iter().map(lease).collect()
    }
}
