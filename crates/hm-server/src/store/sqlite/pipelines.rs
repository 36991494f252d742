//! Pipelines in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::database::or_taken;
use super::row::{flag, id, maybe_text, micros, text, time};
use crate::model::{NewPipeline, Pipeline};
use crate::store::{Pipelines, Result};
use crate::{OrgId, PipelineId};

fn pipeline(row: &SqliteRow) -> Result<Pipeline> {
    Ok(Pipeline {
        id: id(row, "id")?,
        org: id(row, "org_id")?,
        slug: text(row, "slug")?,
        name: text(row, "name")?,
        description: maybe_text(row, "description")?,
        repository: text(row, "repository")?,
        repo_name: maybe_text(row, "repo_name")?,
        default_branch: text(row, "default_branch")?,
        allow_manual: flag(row, "allow_manual")?,
        created_at: time(row, "created_at")?,
    })
}

#[async_trait]
impl Pipelines for SqliteStore {
    async fn create_pipeline(&self, new: NewPipeline, now: DateTime<Utc>) -> Result<Pipeline> {
        let row = sqlx::query(
            "INSERT INTO pipelines (id, org_id, slug, name, description, repository, repo_name, default_branch, \
             allow_manual, last_number, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10) RETURNING *",
        )
        .bind(PipelineId::new().to_string())
        .bind(new.org.to_string())
        .bind(new.slug)
        .bind(new.name)
        .bind(new.description)
        .bind(new.repository)
        .bind(new.repo_name)
        .bind(new.default_branch)
        .bind(new.allow_manual)
        .bind(micros(now))
        .fetch_one(self.database.writer())
        .await
        .map_err(or_taken("the slug"))?;
        self.database.durable().await?;
        pipeline(&row)
    }

    async fn pipeline(&self, org: OrgId, slug: &str) -> Result<Option<Pipeline>> {
        let row = sqlx::query("SELECT * FROM pipelines WHERE org_id = $1 AND slug = $2")
            .bind(org.to_string())
            .bind(slug)
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(pipeline).transpose()
    }

    async fn pipeline_by_id(&self, id: PipelineId) -> Result<Option<Pipeline>> {
        let row = sqlx::query("SELECT * FROM pipelines WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(pipeline).transpose()
    }

    async fn pipeline_of_source(
        &self,
        org: OrgId,
        repo_name: &str,
        source: &str,
    ) -> Result<Option<Pipeline>> {
        let row = sqlx::query(
            "SELECT * FROM pipelines WHERE org_id = $1 AND repo_name = $2 AND (slug = $3 OR name = $3) \
             ORDER BY CASE WHEN slug = $3 THEN 0 ELSE 1 END, slug LIMIT 1",
        )
        .bind(org.to_string())
        .bind(repo_name)
        .bind(source)
        .fetch_optional(self.database.reader())
        .await?;
        row.as_ref().map(pipeline).transpose()
    }

    async fn pipelines(&self, org: OrgId, after: &str, limit: u32) -> Result<Vec<Pipeline>> {
        let rows =
            sqlx::query("SELECT * FROM pipelines WHERE org_id = $1 AND slug > $2 ORDER BY slug LIMIT $3")
                .bind(org.to_string())
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(self.database.reader())
                .await?;
        rows.iter().map(pipeline).collect()
    }
}
