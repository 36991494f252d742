//! Follows a build on the server to its end.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use harmont_client::HarmontClient;
use harmont_client::models::{Build, BuildState};
use hm_plugin_protocol::events::{BuildEvent, BuildRef, RunHeader, SCHEMA_VERSION};
use hm_source::Source;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answers::backend_error;
use super::attempts::Attempts;
use super::heard::Heard;
use super::results::Results;
use crate::{BackendError, BuildOutcome, BuildStatus, Result, RunRequest, announce};

/// How long a canceled build may take to be heard of again.
const CANCELING: Duration = Duration::from_secs(30);

/// A build that was submitted.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) client: HarmontClient,
    pub(super) request: RunRequest,
    pub(super) source: Arc<Source>,
    pub(super) reference: BuildRef,
    /// The build's id on the server.
    pub(super) id: Uuid,
    pub(super) watch_url: Option<String>,
    /// How long the first events may wait for the agent's word.
    pub(super) patience: Duration,
    pub(super) sender: mpsc::Sender<BuildEvent>,
    pub(super) cancel: CancellationToken,
}

/// How the watching ended.
enum Ended {
    /// The server told everything.
    Told,
    /// It was canceled here, and the server has not said so in time.
    Unheard,
    /// Nobody listens here any more.
    Left,
}

impl Watch {
    /// Tells the build's events to its end. `build_end` is the last one, whatever happens; one that is not watched has not
    /// ended, and its events stop where the server has it.
    pub(super) async fn run(self) -> Result<BuildOutcome> {
        let started_at = Utc::now();
        let mut heard = Heard::new(&self.client, self.id);
        let agent = if self.request.options.watch {
            heard.agents_header(self.patience, &self.cancel).await
        } else {
            None
        };
        self.announce(started_at, agent.unwrap_or_default()).await;
        let mut results = Results::default();
        let queued: Vec<_> = announce::queued(&self.request).collect();
        queued.iter().for_each(|event| results.take(event));
        if !self.request.options.watch {
            return Ok(self.outcome(BuildStatus::Submitted, results, started_at));
        }
        let graph = &self.request.plan.graph;
        let mut attempts = Attempts::new(graph.steps().map(|(index, step)| {
            let id = announce::step_id(&self.request, index);
            (id, step.key.to_string())
        }));
        for event in queued {
            self.tell(event).await;
        }
        let watched = self.watch(&mut heard, &mut attempts, &mut results).await;
        let (status, reason, error) = match watched {
            Ok(Ended::Told) => match results.status() {
                Some(status) => (status, String::from("the build ended before it"), None),
                None => self.verdict().await,
            },
            Ok(Ended::Unheard | Ended::Left) => (
                BuildStatus::Canceled,
                String::from("the build was canceled"),
                None,
            ),
            Err(error) => (BuildStatus::Failed, error.to_string(), Some(error)),
        };
        for event in attempts.close(&reason) {
            results.take(&event);
            self.tell(event).await;
        }
        let end = BuildEvent::BuildEnd {
            exit_code: status.exit_code(),
            duration_ms: u64::try_from((Utc::now() - started_at).num_milliseconds()).unwrap_or(0),
        };
        results.take(&end);
        self.tell(end).await;
        match error {
            Some(error) => Err(error),
            None => Ok(self.outcome(status, results, started_at)),
        }
    }

    /// The build's first events, with what is known of its agent.
    async fn announce(&self, started_at: DateTime<Utc>, agent: RunHeader) {
        let notices = self.source.notes().map(str::to_owned);
        let header = RunHeader {
            pipeline: Some(self.request.pipeline_slug.clone()),
            backend: Some("cloud".into()),
            source_files: Some(self.source.files()),
            source_changed: Some(self.source.brought_in()),
            source_id: None,
            notices: notices.into_iter().chain(agent.notices).collect(),
            ..agent
        };
        self.tell(BuildEvent::BuildStart {
            run_id: self.request.run_id,
            plan: self.request.plan.summary.clone(),
            started_at,
            schema_version: Some(SCHEMA_VERSION),
            header: Some(header),
        })
        .await;
        self.tell(BuildEvent::BuildAccepted {
            build: self.reference.clone(),
            watch_url: self.watch_url.clone(),
        })
        .await;
    }

    async fn watch(
        &self,
        heard: &mut Heard,
        attempts: &mut Attempts,
        results: &mut Results,
    ) -> Result<Ended> {
        let mut canceled = false;
        loop {
            let record = tokio::select! {
                record = heard.next() => record,
                () = self.sender.closed() => {
                    self.cancel_there().await?;
                    return Ok(Ended::Left);
                }
                () = self.cancel.cancelled(), if !canceled => {
                    canceled = true;
                    self.cancel_there().await?;
                    continue;
                }
                () = tokio::time::sleep(CANCELING), if canceled => return Ok(Ended::Unheard),
            };
            let Some(record) = record else {
                return Ok(Ended::Told);
            };
            let record = record.map_err(|error| BackendError::LogStream(error.to_string()))?;
            let news = heard.notices(&record);
            for note in record.note.iter().chain(&news) {
                for event in attempts.note(note) {
                    self.tell(event).await;
                }
            }
            match record.event {
                Some(end @ BuildEvent::BuildEnd { .. }) => results.take(&end),
                Some(event) => {
                    for event in attempts.event(record.attempt, event) {
                        results.take(&event);
                        self.tell(event).await;
                    }
                }
                None => {}
            }
        }
    }

    async fn cancel_there(&self) -> Result<()> {
        let (org, pipeline, number) = self.place();
        let canceled = self.client.cancel_build(org, pipeline, number).await;
        canceled.map(drop).map_err(backend_error)
    }

    /// What the server says of a build whose agent never told its end.
    async fn verdict(&self) -> (BuildStatus, String, Option<BackendError>) {
        let (org, pipeline, number) = self.place();
        match self.client.build(org, pipeline, number).await {
            Ok(build) => {
                let (status, reason) = verdict(build);
                (status, reason, None)
            }
            Err(error) => {
                let error = backend_error(error);
                (BuildStatus::Failed, error.to_string(), Some(error))
            }
        }
    }

    fn place(&self) -> (&str, &str, i64) {
        let BuildRef {
            org,
            pipeline,
            number,
            ..
        } = &self.reference;
        (
            org.as_deref().unwrap_or_default(),
            pipeline,
            number.unwrap_or_default(),
        )
    }

    async fn tell(&self, event: BuildEvent) {
        // `watch` notices when the receiver is gone.
        let _ = self.sender.send(event).await;
    }

    fn outcome(&self, status: BuildStatus, results: Results, started_at: DateTime<Utc>) -> BuildOutcome {
        BuildOutcome {
            build: self.reference.clone(),
            status,
            steps: results.into_steps(),
            started_at,
            finished_at: Utc::now(),
            watch_url: self.watch_url.clone(),
        }
    }
}

fn verdict(build: Build) -> (BuildStatus, String) {
    let status = match build.state {
        BuildState::Passed => BuildStatus::Passed,
        BuildState::Canceled | BuildState::Canceling => BuildStatus::Canceled,
        _ => BuildStatus::Failed,
    };
    let reason = build
        .error_message
        .unwrap_or_else(|| format!("the server says that the build is {}", build.state));
    (status, reason)
}
