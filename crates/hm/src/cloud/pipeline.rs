//! Which pipeline of the server a build is of.

use harmont_client::HarmontError;
use harmont_client::models::NewPipeline;
use hm_exec::RunRequest;

use super::Session;
use crate::config::Config;
use crate::context::Context;
use crate::fail::{Failure, Result};

/// The branch that a new pipeline has where the worktree has none.
const USUAL_BRANCH: &str = "main";

/// The pipeline's slug on the server: the one that is named; else the repository's pipeline of the build's name; else,
/// for a worktree without a remote, the one of that slug. One that is found nowhere is made, and that is said.
///
/// # Errors
/// When the server cannot be asked, a pipeline that is named is not there, or none can be made.
pub async fn cloud_pipeline(
    context: &Context,
    config: &Config,
    session: &Session,
    org: &str,
    request: &RunRequest,
) -> Result<String> {
    let client = &session.client;
    if let Some(named) = &config.cloud.pipeline {
        return match client.pipeline(org, named).await {
            Ok(pipeline) => Ok(pipeline.slug),
            Err(HarmontError::NotFound { message, .. }) => Err(Failure::usage(
                message,
                [format!("`hm cloud pipeline create {named}` makes it")],
            )),
            Err(error) => Err(error.into()),
        };
    }
    let (name, repo) = (&request.pipeline_slug, request.source.repo_name.as_deref());
    let mut cursor = None;
    loop {
        let page = client.pipelines(org, Some(100), cursor.as_deref()).await?;
        let found = page.data.into_iter().find(|pipeline| {
            (pipeline.slug == *name || pipeline.name == *name)
                && (repo.is_none() || pipeline.repo_name.as_deref() == repo)
        });
        if let Some(pipeline) = found {
            return Ok(pipeline.slug);
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let new = NewPipeline {
        name: name.clone(),
        repository: repo.unwrap_or(name).to_owned(),
        default_branch: request
            .source
            .branch
            .clone()
            .unwrap_or_else(|| USUAL_BRANCH.into()),
        description: None,
        repo_name: repo.map(str::to_owned),
    };
    let made = client
        .create_pipeline(org, &new)
        .await
        .map_err(|error| match error {
            // The slug is another repository's.
            HarmontError::Rejected { code, message, .. } if code == "slug_taken" => Failure::usage(
                message,
                [
                    format!(
                        "`hm cloud pipeline create NAME --repo {}` makes one of another name,",
                        repo.unwrap_or(name)
                    ),
                    "`--cloud-pipeline NAME`, or `pipeline` under `[cloud]` in .hm/config.toml, takes it"
                        .into(),
                ],
            ),
            error => error.into(),
        })?;
    context.printer.note(&format!(
        "the organization {org} had no such pipeline: made `{}`",
        made.slug
    ));
    Ok(made.slug)
}
