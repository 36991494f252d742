//! Watches a build that somebody else submitted: what is told of its plan comes from its agents.

use chrono::{DateTime, Utc};
use futures::StreamExt;
use harmont_client::models::Build;
use harmont_client::{BuildRecord, HarmontClient};
use hm_plugin_protocol::events::{BuildEvent, BuildRef, PlanSummary, RunHeader, SCHEMA_VERSION};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempts::Attempts;
use super::backend::CAPACITY;
use super::results::Results;
use crate::{BackendError, BackendHandle, BuildOutcome, BuildStatus, Result};

/// Watches `build` from its first event to its end. To cancel the handle ends the watching, not the build.
///
/// # Errors
/// When the server does not stream events.
pub fn follow(
    client: HarmontClient,
    org: &str,
    build: Build,
    watch_url: Option<String>,
) -> Result<BackendHandle> {
    let id = build.id.ok_or_else(|| {
        BackendError::Other("the server does not stream events: it is no server of hm's".into())
    })?;
    let (sender, events) = mpsc::channel(CAPACITY);
    let cancel = CancellationToken::new();
    let following = Following {
        client,
        reference: BuildRef {
            run_id: id,
            number: Some(build.number),
            org: Some(org.to_owned()),
            pipeline: build.pipeline_slug.clone(),
        },
        build,
        id,
        watch_url,
        sender,
        cancel: cancel.clone(),
        begun: false,
        steps: Vec::new(),
        queue: Vec::new(),
        notes: Vec::new(),
        attempts: None,
        results: Results::default(),
    };
    Ok(BackendHandle::spawn(
        events,
        cancel,
        tokio::spawn(following.run()),
    ))
}

struct Following {
    client: HarmontClient,
    build: Build,
    reference: BuildRef,
    id: Uuid,
    watch_url: Option<String>,
    sender: mpsc::Sender<BuildEvent>,
    cancel: CancellationToken,
    begun: bool,
    /// The plan's steps, what queued them and what was noted, as long as no more is heard of them.
    steps: Vec<(Uuid, String)>,
    queue: Vec<(i64, BuildEvent)>,
    notes: Vec<String>,
    attempts: Option<Attempts>,
    results: Results,
}

impl Following {
    async fn run(mut self) -> Result<BuildOutcome> {
        let mut records = self.client.build_records(self.id, 0);
        loop {
            let record = tokio::select! {
                record = records.next() => record,
                () = self.cancel.cancelled() => return Ok(self.outcome(BuildStatus::Canceled)),
                () = self.sender.closed() => return Ok(self.outcome(BuildStatus::Canceled)),
            };
            let Some(record) = record else { break };
            let record = record.map_err(|error| BackendError::LogStream(error.to_string()))?;
            if let Some(BuildEvent::BuildEnd { .. }) = &record.event {
                return self.end(record).await;
            }
            self.take(record).await;
        }
        Err(BackendError::LogStream(
            "the build's events ended before the build".into(),
        ))
    }

    async fn take(&mut self, record: BuildRecord) {
        if let Some(note) = record.note {
            match &mut self.attempts {
                Some(attempts) => {
                    let said = attempts.note(&note);
                    self.tell_all(said).await;
                }
                None => self.notes.push(note),
            }
        }
        match record.event {
            Some(BuildEvent::BuildStart {
                plan,
                started_at,
                header,
                ..
            }) => self.begin(plan, started_at, header.unwrap_or_default()).await,
            Some(event @ BuildEvent::StepQueued { .. }) if self.attempts.is_none() => {
                self.queued(record.attempt, event).await;
            }
            // Told at the beginning, by the server's names.
            Some(BuildEvent::BuildAccepted { .. }) | None => {}
            Some(event) => {
                let told = self.attempts().event(record.attempt, event);
                self.tell_all(told).await;
            }
        }
    }

    /// A step of the plan; each attempt queues all of them.
    async fn queued(&mut self, attempt: i64, event: BuildEvent) {
        if let BuildEvent::StepQueued { step_id, key, .. } = &event
            && self.steps.iter().all(|(_, known)| known != key)
        {
            self.steps.push((*step_id, key.clone()));
            self.tell_all([event.clone()]).await;
        }
        self.queue.push((attempt, event));
    }

    /// The steps' states, from when more is heard of one than that it is queued.
    fn attempts(&mut self) -> &mut Attempts {
        let (steps, queue, notes) = (&mut self.steps, &mut self.queue, &mut self.notes);
        self.attempts.get_or_insert_with(|| {
            let mut attempts = Attempts::new(steps.drain(..));
            for (attempt, event) in queue.drain(..) {
                attempts.event(attempt, event);
            }
            for note in notes.drain(..) {
                attempts.note(&note);
            }
            attempts
        })
    }

    async fn begin(&mut self, plan: PlanSummary, started_at: DateTime<Utc>, header: RunHeader) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let start = BuildEvent::BuildStart {
            run_id: self.id,
            plan,
            started_at,
            schema_version: Some(SCHEMA_VERSION),
            header: Some(RunHeader {
                pipeline: Some(self.build.pipeline_slug.clone()),
                backend: Some("cloud".into()),
                source_id: None,
                ..header
            }),
        };
        let accepted = BuildEvent::BuildAccepted {
            build: self.reference.clone(),
            watch_url: self.watch_url.clone(),
        };
        self.tell_all([start, accepted]).await;
    }

    async fn end(mut self, record: BuildRecord) -> Result<BuildOutcome> {
        if !self.begun {
            // No agent ever had it.
            let plan = PlanSummary {
                step_count: 0,
                chain_count: 0,
                default_runner: "none".into(),
            };
            self.begin(plan, self.build.created_at, RunHeader::default())
                .await;
        }
        let closing = self.attempts().close("the build ended before it");
        self.tell_all(closing).await;
        self.tell_all(record.event).await;
        let status = self.results.status().unwrap_or(BuildStatus::Failed);
        Ok(self.outcome(status))
    }

    async fn tell_all(&mut self, events: impl IntoIterator<Item = BuildEvent>) {
        for event in events {
            self.results.take(&event);
            // `run` notices when the receiver is gone.
            let _ = self.sender.send(event).await;
        }
    }

    fn outcome(self, status: BuildStatus) -> BuildOutcome {
        BuildOutcome {
            build: self.reference,
            status,
            steps: self.results.into_steps(),
            started_at: self.build.started_at.unwrap_or(self.build.created_at),
            finished_at: Utc::now(),
            watch_url: self.watch_url,
        }
    }
}
