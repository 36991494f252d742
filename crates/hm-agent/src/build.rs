//! One build on an agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harmont_client::agent::{Lease, Verdict};
use harmont_client::{HarmontClient, HarmontError, SourceHosts};
use hm_exec::{
    BackendError, BackendHandle, BuildStatus, ExecutionBackend, Plan, RunOptions, RunRequest, SourceMeta,
};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::options::run_options;
use super::secrets::{self, SecretProvider};
use super::source::{self, SourceError};
use super::{holding, telling};

/// How long the agent still speaks of its builds once it is to stop: whatever is not done by then, the server learns from its silence.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// What stands for the branch and the commit of a worktree without git.
const NO_GIT: &str = "none";

/// A build that this agent has.
pub(super) struct Running<'a> {
    pub(super) client: &'a HarmontClient,
    pub(super) backend: &'a dyn ExecutionBackend,
    pub(super) secrets: &'a Arc<dyn SecretProvider>,
    /// The agent's own settings.
    pub(super) defaults: &'a RunOptions,
    /// Where sources may lie that are not on the server.
    pub(super) hosts: &'a SourceHosts,
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
    /// Another agent may do better: with the reason, unless this one is only being stopped.
    GivenBack(Option<String>),
    /// It is another agent's.
    Lost,
}

impl Running<'_> {
    /// Runs it, says how it ended, and removes its source.
    pub(super) async fn run(self, stop: &CancellationToken) {
        let cancel = CancellationToken::new();
        let silent = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let concluded = async {
            let outcome = tokio::select! {
                outcome = self.outcome(&cancel, stop) => outcome,
                never = holding::hold(self.client, &self.lease, &cancel) => never,
            };
            self.conclude(outcome).await
        };
        tokio::select! {
            told = concluded => if let Err(error) = told
                && !error.is_lost_lease()
            {
                tracing::error!(%error, build = %self.lease.build_id, "the server was not told how the build ended");
            },
            () = silent => {
                cancel.cancel();
                tracing::error!(build = %self.lease.build_id, "the server could not be told that the build is given back");
            }
        }
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, directory = %self.directory.display(), "a source cannot be removed");
        }
    }

    /// Ends when nothing shall be waited for any more, whatever it is that the build needs.
    async fn interrupted(&self, cancel: &CancellationToken, stop: &CancellationToken) -> Outcome {
        let late = async {
            match self.time_limit() {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => Outcome::Ended {
                events: 0,
                verdict: Verdict::Canceled,
                error: None,
            },
            () = stop.cancelled() => Outcome::GivenBack(None),
            () = late => Outcome::Ended {
                events: 0,
                verdict: Verdict::TimedOut,
                error: Some("the build's time was over before its source was there".to_owned()),
            },
        }
    }

    /// How long the build may take, as its submitter or its plan says.
    fn time_limit(&self) -> Option<Duration> {
        #[derive(Deserialize)]
        struct Limit {
            timeout_seconds: Option<u64>,
        }
        let asked = self.lease.options.get("timeout_ms").and_then(Value::as_u64);
        let planned = serde_json::from_str(&self.lease.plan)
            .ok()
            .and_then(|Limit { timeout_seconds }| timeout_seconds);
        let asked = asked.map(Duration::from_millis);
        asked.into_iter().chain(planned.map(Duration::from_secs)).min()
    }

    /// Has the build begin on the backend.
    async fn begun(&self) -> Result<BackendHandle, Outcome> {
        let tree = self.directory.join("source");
        match source::fetch(self.client, self.lease.source.as_ref(), self.hosts, tree.clone()).await {
            Ok(()) => {}
            Err(error) if error.is_the_sources() => return Err(failed(0, error.to_string())),
            Err(SourceError::Fetch(error)) if error.is_lost_lease() => return Err(Outcome::Lost),
            Err(error) => {
                tracing::error!(%error, build = %self.lease.build_id, "giving the build back");
                return Err(Outcome::GivenBack(Some(error.to_string())));
            }
        }
        let mut request = self.request(&tree).map_err(|error| failed(0, error))?;
        let mut given = secrets::of_plan(self.secrets, &request.plan).await;
        request.secrets = std::mem::take(&mut given.values);
        self.backend.start(request).await.map_err(|error| match error {
            BackendError::MissingSecret { step, secret } => {
                failed(0, given.explain(self.agent, &step, &secret))
            }
            error => failed(0, error.to_string()),
        })
    }

    async fn outcome(&self, cancel: &CancellationToken, stop: &CancellationToken) -> Outcome {
        let begun = tokio::select! {
            begun = self.begun() => begun,
            interrupted = self.interrupted(cancel, stop) => return interrupted,
        };
        let (events, control) = match begun {
            Ok(handle) => handle.into_parts(),
            Err(outcome) => return outcome,
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
            Ok(_) if stop.is_cancelled() && !cancel.is_cancelled() && was_cut(&ended) => {
                Outcome::GivenBack(None)
            }
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
        let mut options = run_options(&lease.options, self.defaults, tree)?;
        // The archive has `.git` for the steps that ask for it; where none does, the whole run did.
        options.include_git &= !plan.graph.steps().any(|(_, step)| step.git);
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
            options,
            cloud_pipeline_slug: None,
        })
    }

    async fn conclude(&self, outcome: Outcome) -> Result<(), HarmontError> {
        let (client, lease) = (self.client, &self.lease);
        let mut pauses = super::pauses();
        loop {
            let told = match &outcome {
                Outcome::Lost => return Ok(()),
                Outcome::GivenBack(reason) => client.release(lease, self.agent, reason.as_deref()).await,
                Outcome::Ended {
                    events,
                    verdict,
                    error,
                } => client.complete(lease, *events, *verdict, error.as_deref()).await,
            };
            match told {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, build = %lease.build_id, "the build's end is not acknowledged; telling it again");
                    super::rest(&mut pauses).await;
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
