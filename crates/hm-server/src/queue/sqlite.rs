//! The embedded queue: a table in the store's database.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

use crate::BuildId;
use crate::queue::{Fence, Lease, LeaseRequest, NewItem, Queue, Result};
use crate::store::row::{id, json, micros, number, text};
use crate::store::{Database, StoreError};

/// A [`Queue`] on SQLite.
#[derive(Debug)]
pub struct SqliteQueue {
    database: Database,
    arrivals: watch::Sender<u64>,
}

impl SqliteQueue {
    /// A queue on this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            arrivals: watch::Sender::new(0),
        }
    }

    fn arrived(&self) {
        self.arrivals.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Puts a leased build back among the waiting, where it stood.
    async fn put_back(&self, fence: Fence, losses: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE queue SET agent = NULL, until = NULL, losses = losses + $3 \
             WHERE build_id = $1 AND attempt = $2 AND agent IS NOT NULL",
        )
        .bind(fence.build.to_string())
        .bind(fence.attempt)
        .bind(losses)
        .execute(self.database.writer())
        .await?;
        self.database.durable().await?;
        self.arrived();
        Ok(done.rows_affected() > 0)
    }
}

fn lease(row: &SqliteRow) -> Result<Lease> {
    Ok(Lease {
        fence: Fence {
            build: id(row, "build_id")?,
            attempt: number(row, "attempt")?,
        },
        losses: u32::try_from(number(row, "losses")?).map_err(|_| StoreError::Damaged("losses"))?,
        agent: text(row, "agent")?,
    })
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn enqueue(&self, item: NewItem, now: DateTime<Utc>) -> Result<()> {
        let labels = serde_json::to_string(&item.labels).map_err(|_| StoreError::Damaged("labels"))?;
        sqlx::query(
            "INSERT INTO queue (build_id, org_id, labels, place, attempt, losses) VALUES ($1, $2, $3, $4, 0, 0) \
             ON CONFLICT (build_id) DO NOTHING",
        )
        .bind(item.build.to_string())
        .bind(item.org.to_string())
        .bind(labels)
        .bind(micros(now))
        .execute(self.database.writer())
        .await?;
        // What a power cut takes of it is queued again at the server's start, because the store has it as scheduled.
        self.arrived();
        Ok(())
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>> {
        let mut transaction = self.database.begin().await?;
        let mut found: Option<BuildId> = None;
        {
            let mut waiting = sqlx::query(
                "SELECT build_id, labels FROM queue WHERE org_id = $1 AND agent IS NULL ORDER BY place, build_id",
            )
            .bind(request.org.to_string())
            .fetch(&mut *transaction);
            while let Some(row) = waiting.try_next().await? {
                let wanted: BTreeSet<String> = json(&row, "labels")?;
                if wanted.is_subset(&request.labels) {
                    found = Some(id(&row, "build_id")?);
                    break;
                }
            }
        }
        let Some(build) = found else {
            return Ok(None);
        };
        let row = sqlx::query(
            "UPDATE queue SET agent = $2, until = $3, attempt = attempt + 1 WHERE build_id = $1 RETURNING *",
        )
        .bind(build.to_string())
        .bind(&request.agent)
        .bind(micros(request.until))
        .fetch_one(&mut *transaction)
        .await?;
        self.database.commit(transaction).await?;
        lease(&row).map(Some)
    }

    fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
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

    async fn extend_all(&self, until: DateTime<Utc>) -> Result<()> {
        sqlx::query("UPDATE queue SET until = $1 WHERE agent IS NOT NULL AND until < $1")
            .bind(micros(until))
            .execute(self.database.writer())
            .await?;
        Ok(())
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

    async fn release(&self, fence: Fence) -> Result<bool> {
        self.put_back(fence, 0).await
    }

    async fn requeue(&self, fence: Fence) -> Result<bool> {
        self.put_back(fence, 1).await
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
