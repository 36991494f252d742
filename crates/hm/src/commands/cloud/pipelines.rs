//! `hm cloud pipeline`.

use harmont_client::models::{NewPipeline, Pipeline};
use serde_json::json;

use super::{Asked, head, json_lines};
use crate::commands::table;
use crate::fail::Result;
use crate::repository;

/// All pipelines of the organization.
pub(super) async fn all(asked: &Asked<'_>) -> Result<Vec<Pipeline>> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = asked
            .session
            .client
            .pipelines(&asked.org, Some(100), cursor.as_deref())
            .await?;
        found.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// Lists them.
pub(super) async fn list(asked: &Asked<'_>, json: bool) -> Result<String> {
    let found = all(asked).await?;
    if json {
        return json_lines(found.iter().map(|pipeline| {
            json!({
                "pipeline": pipeline.slug,
                "name": pipeline.name,
                "repository": pipeline.repository,
                "repo_name": pipeline.repo_name,
                "default_branch": pipeline.default_branch,
                "created_at": pipeline.created_at,
            })
        }));
    }
    let mut rows = vec![head(["PIPELINE", "NAME", "REPOSITORY", "BRANCH"])];
    rows.extend(found.into_iter().map(|pipeline| {
        vec![
            pipeline.slug,
            pipeline.name,
            pipeline.repo_name.unwrap_or(pipeline.repository),
            pipeline.default_branch,
        ]
    }));
    Ok(table::columns(&rows))
}

/// Makes one.
pub(super) async fn create(
    asked: &Asked<'_>,
    name: &str,
    repo: Option<&str>,
    branch: &str,
) -> Result<String> {
    let here = asked.context.maybe_root().map(repository::source_meta);
    let repo = repo.map(str::to_owned).or_else(|| here?.repo_name);
    let is_url = repo.as_ref().is_some_and(|repo| repo.contains(':'));
    let new = NewPipeline {
        name: name.to_owned(),
        repository: repo.clone().unwrap_or_else(|| name.to_owned()),
        default_branch: branch.to_owned(),
        description: None,
        // The server finds it in a URL.
        repo_name: repo.filter(|_| !is_url),
    };
    let made = asked.session.client.create_pipeline(&asked.org, &new).await?;
    Ok(format!("{}\n", made.slug))
}
