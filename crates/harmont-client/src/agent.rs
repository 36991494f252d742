//! What an agent says to hm's own server: it leases builds, tells their events, and completes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::retry::retried;
use crate::{HarmontClient, HarmontError, Result, SourceHosts};

/// What the server does with an agent's poll beyond the time that it was asked to wait.
const GRACE: Duration = Duration::from_secs(30);
const SHORTEST_GRACE: Duration = Duration::from_secs(1);

/// A build that an agent has.
#[derive(Debug, Clone, Deserialize)]
pub struct Lease {
    /// The build.
    pub build_id: Uuid,
    /// Which try at it this is; goes along with all that is said about it.
    pub attempt: i64,
    /// How long the build stays the agent's that says nothing, in seconds.
    pub lease_seconds: u64,
    /// The organization's slug.
    pub org: String,
    /// The pipeline's slug.
    pub pipeline: String,
    /// The build's number.
    pub number: i64,
    /// The plan, byte for byte as it was submitted.
    pub plan: String,
    /// The submitter's variables.
    pub env: BTreeMap<String, String>,
    /// How it runs: [`crate::models::BuildOptions`], where this client knows the words for it.
    #[serde(default)]
    pub options: Value,
    /// The source's branch.
    pub branch: String,
    /// The source's commit.
    pub commit: String,
    /// The commit's message.
    pub message: Option<String>,
    /// `owner/repo`.
    pub repo_name: Option<String>,
    /// Where the source archive is.
    pub source: Option<LeasedSource>,
    /// The plan's steps.
    pub jobs: Vec<LeasedJob>,
}

/// Where a source archive is.
#[derive(Debug, Clone, Deserialize)]
pub struct LeasedSource {
    /// A gzipped tarball.
    pub url: String,
    /// What it is fetched with, good for one attempt; nothing where the URL is somebody else's.
    pub token: Option<SecretString>,
    /// Its SHA-256 digest in hexadecimal, where it is known.
    pub sha256: Option<String>,
    /// Its length in bytes, where it is known.
    pub bytes: Option<u64>,
}

/// A step, and the id that stands for it in events.
#[derive(Debug, Clone, Deserialize)]
pub struct LeasedJob {
    /// The step's key in the plan.
    pub key: String,
    /// The id.
    pub id: Uuid,
}

/// What the server keeps of an agent's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Acknowledged {
    /// The number of the event that is wanted next, counted from 1 within the attempt.
    pub next: u64,
    /// The build is to be stopped.
    pub cancel: bool,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It was stopped.
    Canceled,
    /// It ran out of time.
    TimedOut,
}

#[derive(Deserialize)]
struct Held {
    cancel: bool,
}

#[derive(Deserialize)]
struct Completed {}

impl Lease {
    fn path<'a>(build: &'a str, action: &'a str) -> [&'a str; 5] {
        ["agent", "v1", "builds", build, action]
    }
}

impl HarmontClient {
    /// Makes a token for agents of an organization: good for `hm agent`, and for nothing else.
    ///
    /// # Errors
    /// [`HarmontError::Forbidden`] for whoever is no administrator.
    pub async fn create_agent_token(&self, org: &str, description: &str) -> Result<SecretString> {
        #[derive(Deserialize)]
        struct Created {
            token: SecretString,
        }
        let body = json!({ "description": description, "role": "agent" });
        let request = self.request_to(Method::POST, &["hm", "v1", "organizations", org, "tokens"])?;
        let Created { token } = self.answer(self.send(request.json(&body)).await?).await?;
        Ok(token)
    }

    /// Waits for a build, for about `wait` at most.
    ///
    /// # Errors
    /// [`HarmontError::Forbidden`] where the token is no agent's.
    pub async fn lease(
        &self,
        agent: &str,
        labels: &BTreeSet<String>,
        wait: Duration,
    ) -> Result<Option<Lease>> {
        let body = json!({ "agent": agent, "labels": labels, "wait_seconds": wait.as_secs() });
        self.with_fresh_token(|| async {
            let request = self
                .request_to(Method::POST, &["agent", "v1", "lease"])?
                .timeout(wait + GRACE)
                .json(&body);
            let response = self.send(request).await?;
            if response.status() == StatusCode::NO_CONTENT {
                return Ok(None);
            }
            self.answer(response).await.map(Some)
        })
        .await
    }

    /// Holds a build. Answers whether it is to be stopped: at once when it is, else after about `wait` at most. A server
    /// that does not wait answers at once.
    ///
    /// # Errors
    /// [`HarmontError::Rejected`] with 409 where it is another agent's by now.
    pub async fn hold(&self, lease: &Lease, wait: Duration) -> Result<bool> {
        let build = lease.build_id.to_string();
        let body = json!({ "attempt": lease.attempt, "wait_seconds": wait.as_secs() });
        // A server that has gone silent is asked again before the lease ends.
        let longest = wait + wait.clamp(SHORTEST_GRACE, GRACE);
        self.insisting(|| async {
            let request = self
                .request_to(Method::POST, &Lease::path(&build, "heartbeat"))?
                .timeout(longest);
            let Held { cancel } = self.answer(self.send(request.json(&body)).await?).await?;
            Ok(cancel)
        })
        .await
    }

    /// Tells events, one JSON object a line, the first of which has the number `first`. It is safe to send again what
    /// was not acknowledged.
    ///
    /// # Errors
    /// As [`HarmontClient::hold`]; also where events are missing before the first.
    pub async fn send_events(&self, lease: &Lease, first: u64, lines: Bytes) -> Result<Acknowledged> {
        let build = lease.build_id.to_string();
        let query = [
            ("attempt", lease.attempt.to_string()),
            ("first", first.to_string()),
        ];
        self.insisting(|| async {
            let request = self
                .request_to(Method::POST, &Lease::path(&build, "events"))?
                .query(&query)
                .header(reqwest::header::CONTENT_TYPE, "application/x-ndjson")
                .body(lines.clone());
            self.answer(self.send(request).await?).await
        })
        .await
    }

    /// Says that a build has ended, after so many events. Safe to say again.
    ///
    /// # Errors
    /// As [`HarmontClient::send_events`].
    pub async fn complete(
        &self,
        lease: &Lease,
        events: u64,
        verdict: Verdict,
        error: Option<&str>,
    ) -> Result<()> {
        let build = lease.build_id.to_string();
        let body = json!({
            "attempt": lease.attempt,
            "events": events,
            "status": verdict,
            "error": error,
        });
        self.insisting(|| async {
            let request = self.request_to(Method::POST, &Lease::path(&build, "complete"))?;
            let Completed {} = self.answer(self.send(request.json(&body)).await?).await?;
            Ok(())
        })
        .await
    }

    /// Gives a build back: with the reason why it cannot be run here, or with none where the agent is only being stopped.
    ///
    /// # Errors
    /// As [`HarmontClient::hold`].
    pub async fn release(&self, lease: &Lease, agent: &str, reason: Option<&str>) -> Result<()> {
        let build = lease.build_id.to_string();
        let body = json!({ "attempt": lease.attempt, "agent": agent, "reason": reason });
        self.insisting(|| async {
            let request = self.request_to(Method::POST, &Lease::path(&build, "release"))?;
            self.send(request.json(&body)).await.map(drop)
        })
        .await
    }

    /// An agent's request: sent again when that may help, and with another token where there is one.
    async fn insisting<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.with_fresh_token(|| retried(&work)).await
    }

    /// A build's source archive, as it comes. What lies on somebody else's server is fetched from `hosts` alone.
    ///
    /// # Errors
    /// When it is not there, or the connection breaks; [`HarmontError::Usage`] where it may not be fetched.
    pub async fn source_archive(
        &self,
        source: &LeasedSource,
        hosts: &SourceHosts,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        if source.token.is_none() {
            return self.foreign_archive(&source.url, hosts).await;
        }
        let response = retried(|| async {
            let mut request = self.http.get(&source.url);
            if let Some(token) = &source.token {
                request = request.bearer_auth(token.expose_secret());
            }
            self.send(request).await
        })
        .await?;
        let client = self.clone();
        Ok(response
            .bytes_stream()
            .map_err(move |error| client.broken(&error))
            .boxed())
    }
}

impl HarmontClient {
    async fn foreign_archive(
        &self,
        url: &str,
        hosts: &SourceHosts,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let parsed = url
            .parse()
            .map_err(|error| HarmontError::Usage(format!("`{url}` is no URL: {error}")))?;
        let foreign = Self {
            http: hosts.client(&parsed).map_err(HarmontError::Usage)?,
            base: parsed.origin().ascii_serialization(),
            token: None,
        };
        let response = retried(|| async { foreign.send(foreign.http.get(parsed.clone())).await }).await?;
        Ok(response
            .bytes_stream()
            .map_err(move |error| foreign.broken(&error))
            .boxed())
    }
}

impl HarmontError {
    /// Whether an agent that was told this has its build no more.
    #[must_use]
    pub const fn is_lost_lease(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Rejected { status: 409, .. }
                | Self::Unauthorized
                | Self::Forbidden { .. }
        )
    }
}
