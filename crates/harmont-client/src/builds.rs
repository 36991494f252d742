//! Builds: make, look at, list, cancel; and their jobs.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::models::{Build, Job, LogToken, NewBuild, NewRepoBuild, Page};
use crate::retry::retried;
use crate::{HarmontClient, HarmontError, Result};

/// In which hm's own server says a build's id.
const BUILD_ID: &str = "x-hm-build-id";

impl HarmontClient {
    /// Makes a build of a pipeline that is known by its slug. `archive` is the source as gzipped tar in base64, in
    /// pieces of any length; it is sent as it comes and never held whole.
    ///
    /// # Errors
    /// [`HarmontError::Rejected`] where the plan or the source is refused.
    pub async fn submit_build<S>(
        &self,
        org: &str,
        pipeline: &str,
        build: &NewBuild,
        archive: Option<S>,
    ) -> Result<Build>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let path = ["organizations", org, "pipelines", pipeline, "builds"];
        let made = self.submit(&path, build, archive).await?;
        self.as_asked(org, build, made).await
    }

    /// Makes a build of a pipeline that is known by its repository; else as [`HarmontClient::submit_build`].
    ///
    /// # Errors
    /// As [`HarmontClient::submit_build`]; [`HarmontError::NotFound`] where no pipeline is of that repository.
    pub async fn submit_repo_build<S>(
        &self,
        org: &str,
        build: &NewRepoBuild,
        archive: Option<S>,
    ) -> Result<Build>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let path = ["organizations", org, "builds"];
        let made = self.submit(&path, build, archive).await?;
        self.as_asked(org, &build.build, made).await
    }

    async fn submit<S>(&self, path: &[&str], build: &impl Serialize, archive: Option<S>) -> Result<Build>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let request = self.request(Method::POST, path)?;
        let Some(archive) = archive else {
            return self.build_of(self.send(request.json(build)).await?).await;
        };
        let mut opening = serde_json::to_string(build)
            .map_err(|error| HarmontError::Usage(format!("the build cannot be written as JSON: {error}")))?;
        // The archive goes last, between what the object begins and ends with: base64 needs no escapes.
        opening.truncate(opening.len() - 1);
        opening.push_str(r#","source_b64":""#);
        let pieces = stream::once(async { Ok(Bytes::from(opening)) })
            .chain(archive)
            .chain(stream::once(async { Ok(Bytes::from_static(b"\"}")) }));
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(Body::wrap_stream(pieces));
        self.build_of(self.send(request).await?).await
    }

    /// A server that knows nothing of options takes the build without them, and nobody wants it so.
    async fn as_asked(&self, org: &str, asked: &NewBuild, made: Build) -> Result<Build> {
        if made.run_options == asked.run_options {
            return Ok(made);
        }
        self.cancel_build(org, &made.pipeline_slug, made.number).await?;
        Err(HarmontError::Usage(format!(
            "the server took build {} of {} without its options, so it was canceled: update the server, or leave out \
             what says how the build runs",
            made.number, made.pipeline_slug
        )))
    }

    async fn build_of(&self, response: Response) -> Result<Build> {
        let id = response.headers().get(BUILD_ID).and_then(|id| id.to_str().ok());
        let id = id.and_then(|id| id.parse().ok());
        Ok(Build {
            id,
            ..self.answer(response).await?
        })
    }

    /// A build.
    ///
    /// # Errors
    /// [`HarmontError::NotFound`].
    pub async fn build(&self, org: &str, pipeline: &str, number: i64) -> Result<Build> {
        let number = number.to_string();
        retried(|| async {
            let request = self.request(Method::GET, &builds(org, pipeline, &number, &[]))?;
            self.build_of(self.send(request).await?).await
        })
        .await
    }

    /// A page of a pipeline's builds, newest first.
    ///
    /// # Errors
    /// [`HarmontError::NotFound`].
    pub async fn builds(
        &self,
        org: &str,
        pipeline: &str,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<Build>> {
        let path = ["organizations", org, "pipelines", pipeline, "builds"];
        self.get(&path, &paging(limit, cursor)).await
    }

    /// Asks a build to stop. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`HarmontError::NotFound`].
    pub async fn cancel_build(&self, org: &str, pipeline: &str, number: i64) -> Result<Build> {
        self.put(&builds(org, pipeline, &number.to_string(), &["cancel"]))
            .await
    }

    /// Runs a build again, as a new one of the same plan, source and variables; an operation of hm's own server. Sent
    /// once: a second time would make a second build.
    ///
    /// # Errors
    /// [`HarmontError::Rejected`] where its source is gone, or its plan was refused; [`HarmontError::NotFound`].
    pub async fn retry_build(&self, org: &str, pipeline: &str, number: i64) -> Result<Build> {
        let number = number.to_string();
        let path = [&["hm", "v1"], &builds(org, pipeline, &number, &["retry"])[..]].concat();
        let request = self.request_to(Method::POST, &path)?;
        self.build_of(self.send(request).await?).await
    }

    /// A build's jobs.
    ///
    /// # Errors
    /// [`HarmontError::NotFound`].
    pub async fn jobs(&self, org: &str, pipeline: &str, number: i64) -> Result<Vec<Job>> {
        let number = number.to_string();
        let page: Page<Job> = self.get(&builds(org, pipeline, &number, &["jobs"]), &[]).await?;
        Ok(page.data)
    }

    /// One job of a build.
    ///
    /// # Errors
    /// [`HarmontError::NotFound`].
    pub async fn job(&self, org: &str, pipeline: &str, number: i64, job: Uuid) -> Result<Job> {
        let (number, job) = (number.to_string(), job.to_string());
        self.get(&builds(org, pipeline, &number, &["jobs", &job]), &[])
            .await
    }

    /// A token that opens the log streams of one build.
    ///
    /// # Errors
    /// [`HarmontError::NotFound`].
    pub async fn log_token(&self, org: &str, pipeline: &str, number: i64) -> Result<LogToken> {
        self.get(&builds(org, pipeline, &number.to_string(), &["log-token"]), &[])
            .await
    }
}

/// The path of a build, and of what is below it.
fn builds<'a>(org: &'a str, pipeline: &'a str, number: &'a str, below: &[&'a str]) -> Vec<&'a str> {
    let mut path = vec!["organizations", org, "pipelines", pipeline, "builds", number];
    path.extend_from_slice(below);
    path
}

/// The query of a page.
pub(crate) fn paging(limit: Option<u32>, cursor: Option<&str>) -> Vec<(&'static str, String)> {
    let limit = limit.map(|limit| ("limit", limit.to_string()));
    let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
    limit.into_iter().chain(cursor).collect()
}
