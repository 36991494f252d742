//! A build's page, kept up to date: server-sent events, resumed by the number of a record in the build's log.
//!
//! Lines are sent of the steps alone whose logs the page has open. Who has fallen far behind is not sent each line that it missed:
//! it gets the end of each open log, and the page says how many lines are before that.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hm_plugin_protocol::events::BuildEvent;
use serde::Deserialize;
use uuid::Uuid;

use super::build::{Head, find};
use super::changes::Change;
use super::outline::Outline;
use super::pen::Pens;
use super::said::{Anchor, said};
use super::step::StepView;
use super::window::{Plan, Wanted};
use super::{Ctx, Dashboard, PageResult};
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::logs::{LogReader, Record};
use crate::model::{Build, BuildState, Job, Pipeline};

/// Below the minute after which proxies tend to give up.
const QUIET: Duration = Duration::from_secs(15);
/// How long records gather before they are sent.
const GATHER: Duration = Duration::from_millis(50);
/// How much is read at a time: a thousand pages may look at one build.
const PIECE: usize = 64 << 10;
/// How often the build's row is looked at: a cancellation stands in no log.
const LOOK: Duration = Duration::from_secs(3);
/// How many records behind is far behind.
const FAR: u64 = 20_000;
/// How many logs one page may have open at a time.
const OPEN: usize = 32;

/// From where on, and with which logs.
#[derive(Deserialize, Default)]
pub(super) struct LiveQuery {
    /// The last record that the page knows of. A `Last-Event-ID` header goes before.
    after: Option<u64>,
    /// The jobs whose logs are open, separated by commas.
    open: Option<String>,
}

/// `GET /{org}/{pipeline}/builds/{number}/live`
pub(super) async fn live(
    State(dashboard): Ctx,
    Extension(scope): Extension<Scope>,
    Extension(caller): Extension<Caller>,
    Path((_, pipeline, number)): Path<(String, String, String)>,
    headers: HeaderMap,
    query: Result<Query<LiveQuery>, axum::extract::rejection::QueryRejection>,
) -> PageResult {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let (pipeline, build) = find(&dashboard, &scope, &pipeline, &number).await?;
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let at = last.or(query.after).unwrap_or(0);
    let jobs = dashboard.app.store.jobs(build.id).await?;
    let wanted: HashSet<&str> = query
        .open
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .take(OPEN)
        .collect();
    let open = jobs
        .iter()
        .filter(|job| wanted.contains(job.id.to_string().as_str()))
        .map(|job| OpenLog::new(job.id.0, &job.key))
        .collect();
    let reader = dashboard.app.logs.read(build.id, at.saturating_add(1)).await?;
    let (app, org) = (Arc::clone(&dashboard.app), build.org);
    let page = Page {
        dashboard,
        scope,
        pipeline,
        build,
        jobs,
        reader,
        at,
        attempt: 0,
        open,
        told: None,
        stage: Stage::Begin,
    };
    let batches = stream::unfold(page, |mut page| async move {
        let changes = page.next().await?;
        let events: Vec<Event> = changes.iter().filter_map(Change::event).collect();
        Some((stream::iter(events), page))
    });
    let events = batches
        .flatten()
        .take_until(Box::pin(async move {
            tokio::select! {
                () = app.stopping.cancelled() => {}
                () = caller.shut_out(&app, org) => {}
            }
        }))
        .map(Ok::<_, Infallible>);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(QUIET))
        .into_response())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    On,
    Over,
}

/// A log that the page has open, and where in it the page is.
struct OpenLog {
    job: Uuid,
    needle: String,
    anchor: Anchor,
    number: u64,
    pens: Pens,
}

impl OpenLog {
    fn new(job: Uuid, key: &str) -> Self {
        Self {
            job,
            needle: job.to_string(),
            anchor: Anchor::new(key),
            number: 0,
            pens: Pens::default(),
        }
    }
}

/// A page that is kept up to date.
struct Page {
    dashboard: Arc<Dashboard>,
    scope: Scope,
    pipeline: Pipeline,
    build: Build,
    jobs: Vec<Job>,
    reader: Box<dyn LogReader>,
    /// The last record that was told.
    at: u64,
    attempt: i64,
    open: Vec<OpenLog>,
    /// The build's state that was told last.
    told: Option<BuildState>,
    stage: Stage,
}

/// What a batch of records is about.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// The steps whose state may have changed.
    steps: HashSet<Uuid>,
    /// The build's state may have.
    build: bool,
    /// The record that ended it.
    end: Option<u64>,
}

impl Page {
    /// The next changes; nothing once there will be no more. What fails ends the stream, and the page asks again.
    async fn next(&mut self) -> Option<Vec<Change>> {
        let changes = match self.stage {
            Stage::Over => return None,
            Stage::Begin => self.begin().await,
            Stage::On => self.go_on().await,
        };
        changes
            .inspect_err(|_| tracing::warn!(build = %self.build.id, "a page cannot be kept up to date"))
            .ok()
    }

    async fn begin(&mut self) -> Result<Vec<Change>, ApiError> {
        self.stage = Stage::On;
        let app = Arc::clone(&self.dashboard.app);
        let outline = self.dashboard.outlines.of(&self.build, &*app.logs).await?;
        let lost = self.at > outline.seq || outline.seq - self.at > FAR || self.at + 1 < outline.began;
        if lost {
            drop(outline);
            return self.jump().await;
        }
        if self.at < outline.began {
            self.attempt = outline.attempt - 1;
        } else {
            self.attempt = outline.attempt;
            let marks: Vec<_> = self
                .open
                .iter()
                .map(|log| place(&outline, log.job, self.at))
                .collect();
            drop(outline);
            for (place, known) in marks.into_iter().enumerate() {
                self.find_place(place, known).await?;
            }
        }
        let mut batch = Batch {
            build: true,
            ..Batch::default()
        };
        // What the page does not know yet comes as it is read; an ended build has no more of it.
        if self.build.state.is_terminal() && self.at >= app.logs.head(self.build.id).await? {
            batch.end = Some(self.at);
        }
        self.finish(batch).await
    }

    /// Where an open log is at the record that the page knows of.
    async fn find_place(&mut self, place: usize, known: Known) -> Result<(), ApiError> {
        let (build, at) = (self.build.id, self.at);
        let Some(log) = self.open.get_mut(place) else {
            return Ok(());
        };
        (log.number, log.pens) = (known.lines, known.pens);
        let Some(from) = known.from else {
            return Ok(());
        };
        let mut reader = self.dashboard.app.logs.read(build, from).await?;
        loop {
            let records = reader.next(PIECE).await?;
            if records.is_empty() {
                return Ok(());
            }
            for (seq, bytes) in records {
                if seq > at {
                    return Ok(());
                }
                let Some(event) = event_about(&bytes, &log.needle) else {
                    continue;
                };
                if let Some(said) = said(&event).filter(|_| event.step_id() == Some(log.job)) {
                    log.number += 1;
                    said.write_with(&mut log.pens);
                }
            }
        }
    }

    async fn go_on(&mut self) -> Result<Vec<Change>, ApiError> {
        let app = Arc::clone(&self.dashboard.app);
        tokio::select! {
            () = self.reader.more() => {}
            () = tokio::time::sleep(LOOK) => {
                let batch = Batch { build: true, ..Batch::default() };
                return self.finish(batch).await;
            }
        }
        tokio::time::sleep(GATHER).await;
        if app.logs.head(self.build.id).await?.saturating_sub(self.at) > FAR {
            return self.jump().await;
        }
        let records = self.reader.next(PIECE).await?;
        let mut batch = Batch::default();
        for (seq, bytes) in records {
            self.take(seq, &bytes, &mut batch);
        }
        self.finish(batch).await
    }

    fn take(&mut self, seq: u64, bytes: &Bytes, batch: &mut Batch) {
        self.at = seq;
        // Most records are lines, and most of those are of logs that are not open.
        let is_line = memchr::memmem::find(bytes, b"\"kind\":\"step_log\"").is_some();
        let open = |log: &OpenLog| memchr::memmem::find(bytes, log.needle.as_bytes()).is_some();
        if is_line && !self.open.iter().any(open) {
            return;
        }
        let Ok(record) = Record::decode(bytes) else { return };
        if record.attempt > self.attempt {
            self.attempt = record.attempt;
            batch.changes.push(Change::Attempt {
                attempt: record.attempt,
            });
            batch.steps.extend(self.jobs.iter().map(|job| job.id.0));
            for log in &mut self.open {
                (log.number, log.pens) = (0, Pens::default());
            }
        }
        if let Some(text) = record.note {
            batch.changes.push(Change::Note { seq, text });
            batch.build = true;
        }
        let Some(event) = record.event else { return };
        let Some(step) = event.step_id() else {
            batch.build = true;
            if matches!(event, BuildEvent::BuildEnd { .. }) {
                batch.end = Some(seq);
            }
            return;
        };
        if let Some(said) = said(&event) {
            if let Some(log) = self.open.iter_mut().find(|log| log.job == step) {
                log.number += 1;
                let (lines, number) = (batch.lines(step, log.number), log.number);
                if let Change::Lines { last, html, .. } = lines {
                    *last = number;
                    said.show(html, &log.anchor, number, &mut log.pens);
                }
            }
            if matches!(event, BuildEvent::StepLog { .. }) {
                return;
            }
        }
        batch.steps.insert(step);
        batch.build = true;
    }

    /// Leaves out what came between, and goes on from the log's end.
    async fn jump(&mut self) -> Result<Vec<Change>, ApiError> {
        let app = Arc::clone(&self.dashboard.app);
        let mut batch = Batch {
            build: true,
            ..Batch::default()
        };
        let plans: Vec<Plan> = {
            let outline = self.dashboard.outlines.of(&self.build, &*app.logs).await?;
            // One that knows more than there is knows something else.
            let over = (outline.attempt != self.attempt && self.attempt != 0)
                || self.at < outline.began
                || self.at > outline.seq;
            if over {
                batch.changes.push(Change::Attempt {
                    attempt: outline.attempt,
                });
            }
            let missed = |job: &&Job| {
                over || outline
                    .steps
                    .get(&job.id.0)
                    .is_none_or(|step| step.changed > self.at)
            };
            batch
                .steps
                .extend(self.jobs.iter().filter(missed).map(|job| job.id.0));
            let notes = outline.notes.iter().filter(|note| note.seq > self.at);
            batch.changes.extend(notes.map(Change::note));
            batch.end = outline.ended.map(|_| outline.seq);
            (self.at, self.attempt) = (outline.seq, outline.attempt);
            let plan =
                |log: &OpenLog| Plan::new(&outline, self.build.id, log.job, log.anchor.clone(), Wanted::End);
            self.open.iter().map(plan).collect()
        };
        for (log, plan) in self.open.iter_mut().zip(plans) {
            let window = plan.read(&self.dashboard).await?;
            (log.number, log.pens) = (window.last, window.pens);
            batch.changes.push(Change::tail(log.job, window));
        }
        self.reader = app.logs.read(self.build.id, self.at + 1).await?;
        self.finish(batch).await
    }

    /// Adds what the batch's states have become, and where it ends.
    async fn finish(&mut self, mut batch: Batch) -> Result<Vec<Change>, ApiError> {
        let app = Arc::clone(&self.dashboard.app);
        if batch.build
            && let Some(build) = app.store.build_by_id(self.build.id).await?
        {
            self.build = build;
        }
        if !batch.steps.is_empty() || batch.end.is_some() {
            // When each began is in the store alone.
            self.jobs = app.store.jobs(self.build.id).await?;
            let outline = self.dashboard.outlines.of(&self.build, &*app.logs).await?;
            let ended_with_it = |job: &Job| {
                let step = outline.steps.get(&job.id.0);
                batch
                    .end
                    .is_some_and(|end| step.is_none_or(|step| step.changed >= end))
            };
            for job in &self.jobs {
                if batch.steps.contains(&job.id.0) || ended_with_it(job) {
                    let step = StepView::new(&self.build, job, &outline);
                    batch.changes.extend(Change::step(&step));
                }
            }
        }
        let state = self.build.state;
        if batch.build && self.told != Some(state) {
            self.told = Some(state);
            let waits = self.dashboard.app.waits_for(&self.build).await?;
            let head = Head::new(&self.scope, &self.pipeline, &self.build, waits);
            batch.changes.extend(Change::build(&head, state.is_terminal()));
        }
        let seq = self.at;
        if batch.end.is_some() {
            self.stage = Stage::Over;
            batch.changes.push(Change::Done { seq });
        } else {
            batch.changes.push(Change::At { seq });
        }
        Ok(batch.changes)
    }
}

impl Batch {
    /// The lines of a step that are gathered, the next of which has this number. What was gathered before the build started over is apart.
    fn lines(&mut self, step: Uuid, next: u64) -> &mut Change {
        let goes_on = |change: &Change| matches!(change, Change::Lines { job, last, .. } if *job == step && last + 1 == next);
        let place = self
            .changes
            .iter()
            .rposition(goes_on)
            .unwrap_or(self.changes.len());
        if place == self.changes.len() {
            self.changes.push(Change::Lines {
                job: step,
                first: next,
                last: next,
                html: String::new(),
            });
        }
        &mut self.changes[place]
    }
}

/// What an outline knows about where a log is at a record.
struct Known {
    lines: u64,
    pens: Pens,
    /// From where on the log itself must be read.
    from: Option<u64>,
}

fn place(outline: &Outline, step: Uuid, at: u64) -> Known {
    let nothing = Known {
        lines: 0,
        pens: Pens::default(),
        from: None,
    };
    let Some(told) = outline.steps.get(&step) else {
        return nothing;
    };
    if at >= outline.seq {
        return Known {
            lines: told.lines,
            pens: told.pens,
            from: None,
        };
    }
    let after = told.marks.partition_point(|mark| mark.seq <= at);
    let mark = after.checked_sub(1).and_then(|place| told.marks.get(place));
    mark.map_or(nothing, |mark| Known {
        lines: mark.lines,
        pens: mark.pens,
        from: Some(mark.seq),
    })
}

fn event_about(bytes: &Bytes, needle: &str) -> Option<BuildEvent> {
    memchr::memmem::find(bytes, needle.as_bytes())?;
    Record::decode(bytes).ok()?.event
}
