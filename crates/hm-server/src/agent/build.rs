//! One build on an agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harmont_client::agent::{Lease, Verdict};
use harmont_client::{HarmontClient, HarmontError};
use hm_exec::{BackendError, BuildStatus, ExecutionBackend, Plan, RunOptions, RunRequest, SourceMeta};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::options::run_options;
use super::secrets::{self, SecretProvider};
use super::source::{self, SourceError};
use super::{holding, telling};

/// The longest pause before the server is told again how a build ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What stands for the branch and the commit of a worktree without git.
const NO_GIT: &str = "none";

/// A build that this agent has.
pub(super) struct Running<'a> {
    pub(super) client: &'a HarmontClient,
    pub(super) backend: &'a dyn ExecutionBackend,
    pub(super) secrets: &'a Arc<dyn SecretProvider>,
    /// The agent's own settings.
    pub(super) defaults: &'a RunOptions,
    /// What the agent calls itself.
    pub(super) agent: &'a str,
    pub(super) lease: Lease,
    /// A directory of the build's own, which is removed at its end.
    pub(super) directory: PathBuf,
}

/// What came of it.
enum Outcome {
    /// It ended so, after this many events.
    Ended {
        events: u64,
        verdict: Verdict,
        error: Option<String>,
    },
    /// Another agent may do better.
    GivenBack,
    /// It is another agent's.
    Lost,
}

impl Running<'_> {
    /// Runs it, says how it ended, and removes its source.
    pub(super) async fn run(self, stop: &CancellationToken) {
        let cancel = CancellationToken::new();
        let outcome = tokio::select! {
            outcome = self.outcome(&cancel, stop) => outcome,
            never = holding::hold(self.client, &self.lease, &cancel) => never,
        };
        let told = self.conclude(outcome).await;
        if let Err(error) = told
            && !error.is_lost_lease()
        {
            tracing::error!(%error, build = %self.lease.build_id, "the server was not told how the build ended");
        }
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, directory = %self.directory.display(), "a source cannot be removed");
        }
    }

    async fn outcome(&self, cancel: &CancellationToken, stop: &CancellationToken) -> Outcome {
        let tree = self.directory.join("source");
        match source::fetch(self.client, self.lease.source.as_ref(), tree.clone()).await {
            Ok(()) => {}
            Err(error) if error.is_the_sources() => return failed(0, error.to_string()),
            Err(SourceError::Fetch(error)) if error.is_lost_lease() => return Outcome::Lost,
            Err(error) => {
                tracing::error!(%error, build = %self.lease.build_id, "giving the build back");
                return Outcome::GivenBack;
            }
        }
        let mut request = match self.request(&tree) {
            Ok(request) => request,
            Err(error) => return failed(0, error),
        };
        let mut given = secrets::of_plan(self.secrets, &request.plan).await;
        request.secrets = std::mem::take(&mut given.values);
        let started = self.backend.start(request).await;
        let (events, control) = match started {
            Ok(handle) => handle.into_parts(),
            Err(BackendError::MissingSecret { step, secret }) => {
                return failed(0, given.explain(self.agent, &step, &secret));
            }
            Err(error) => return failed(0, error.to_string()),
        };
        let canceler = control.cancel_handle();
        let told = telling::tell(self.client, &self.lease, events, cancel);
        let stopping = async {
            tokio::select! {
                () = cancel.cancelled() => canceler.terminate(),
                // The build runs again elsewhere: nobody waits for what its steps still do here.
                () = stop.cancelled() => canceler.kill(),
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let told = tokio::select! {
            told = told => told,
            never = stopping => match never {},
        };
        let ended = control.wait().await;
        match told {
            Err(error) => {
                tracing::warn!(%error, build = %self.lease.build_id, "the build was stopped: its events are not taken");
                Outcome::Lost
            }
            // Whoever stops the agent has not canceled the build.
            Ok(_) if stop.is_cancelled() && !cancel.is_cancelled() && was_cut(&ended) => Outcome::GivenBack,
            Ok(events) => match ended {
                Ok(outcome) => Outcome::Ended {
                    events,
                    verdict: match outcome.status {
                        BuildStatus::Passed => Verdict::Passed,
                        // An agent watches what it runs.
                        BuildStatus::Failed | BuildStatus::Submitted => Verdict::Failed,
                        BuildStatus::Canceled => Verdict::Canceled,
                        BuildStatus::TimedOut => Verdict::TimedOut,
                    },
                    error: None,
                },
                Err(error) => failed(events, error.to_string()),
            },
        }
    }

    fn request(&self, tree: &Path) -> Result<RunRequest, String> {
        let lease = &self.lease;
        let plan = Plan::parse(lease.plan.clone()).map_err(|error| error.to_string())?;
        // A client without git says so by the word `none`.
        let some = |text: &str| (!text.is_empty() && text != NO_GIT).then(|| text.to_owned());
        Ok(RunRequest {
            run_id: lease.build_id,
            plan,
            repo_root: tree.to_owned(),
            pipeline_slug: lease.pipeline.clone(),
            env: lease.env.clone(),
            secrets: BTreeMap::new(),
            source: SourceMeta {
                branch: some(&lease.branch),
                commit: some(&lease.commit),
                message: lease.message.clone(),
                repo_name: lease.repo_name.clone(),
                tag: lease
                    .options
                    .get("tag")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            },
            options: run_options(&lease.options, self.defaults, tree)?,
            cloud_pipeline_slug: None,
        })
    }

    async fn conclude(&self, outcome: Outcome) -> Result<(), HarmontError> {
        let (client, lease) = (self.client, &self.lease);
        let mut pause = Duration::from_millis(200);
        loop {
            let told = match &outcome {
                Outcome::Lost => return Ok(()),
                Outcome::GivenBack => client.release(lease, self.agent).await,
                Outcome::Ended {
                    events,
                    verdict,
                    error,
                } => client.complete(lease, *events, *verdict, error.as_deref()).await,
            };
            match told {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, build = %lease.build_id, "the build's end is not acknowledged; telling it again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                told => return told,
            }
        }
    }
}

fn failed(events: u64, error: String) -> Outcome {
    Outcome::Ended {
        events,
        verdict: Verdict::Failed,
        error: Some(error),
    }
}

fn was_cut(ended: &Result<hm_exec::BuildOutcome, BackendError>) -> bool {
    ended
        .as_ref()
        .map_or(true, |outcome| outcome.status == BuildStatus::Canceled)
}
