//! One build.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use chrono::{TimeDelta, Utc};
use serde::Deserialize;

use super::error::{Frame, PageError, page};
use super::graph::{self, Layout};
use super::look::{self, Look};
use super::outline::{Note, Outline};
use super::paths::build_path;
use super::said::Anchor;
use super::step::{StepView, took};
use super::time::{Moment, exact};
use super::window::{Plan, Wanted, Window};
use super::{Ctx, Dashboard, PageResult};
use crate::JobId;
use crate::api::ApiError;
use crate::auth::{Caller, Scope};
use crate::model::{Build, BuildState, Job, JobState, Pipeline, Role};

/// How many logs a page opens by itself.
const OPEN: usize = 3;

/// The build that a path names.
pub(super) async fn find(
    dashboard: &Dashboard,
    scope: &Scope,
    pipeline: &str,
    number: &str,
) -> PageResult<(Pipeline, Build)> {
    let store = &dashboard.app.store;
    let number: i64 = number.parse().map_err(|_| PageError::missing())?;
    let pipeline = store
        .pipeline(scope.org.id, pipeline)
        .await?
        .ok_or_else(PageError::missing)?;
    let build = store
        .build(pipeline.id, number)
        .await?
        .ok_or_else(PageError::missing)?;
    Ok((pipeline, build))
}

/// The job of a build that a path names.
pub(super) async fn job_of(dashboard: &Dashboard, build: &Build, job: &str) -> PageResult<Job> {
    let id: JobId = job.parse().map_err(|_| PageError::missing())?;
    let job = dashboard
        .app
        .store
        .job(id)
        .await?
        .filter(|job| job.build == build.id);
    job.ok_or_else(PageError::missing)
}

/// What a build's page says above its steps. It is sent again whenever the build's state changes.
#[derive(Template)]
#[template(path = "build_head.html")]
pub(super) struct Head {
    pub(super) path: String,
    pub(super) look: Look,
    number: i64,
    pipeline: String,
    pipeline_path: String,
    branch: String,
    commit: String,
    short_commit: String,
    subject: Option<String>,
    message: Option<String>,
    trigger: String,
    created: Moment,
    waited: Option<String>,
    duration: Option<String>,
    since: Option<String>,
    error: Option<String>,
    attempt: i64,
    terminal: bool,
    can_cancel: bool,
    can_retry: bool,
}

impl Head {
    pub(super) fn new(scope: &Scope, pipeline: &Pipeline, build: &Build) -> Self {
        let now = Utc::now();
        let (duration, since) = took(build);
        let text = build
            .message
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let subject = text.and_then(|text| text.lines().next()).map(str::to_owned);
        let may = scope.role >= Role::Member;
        let ongoing = !build.state.is_terminal();
        Self {
            path: build_path(&scope.org.slug, &pipeline.slug, build.number),
            look: look::build(build.state),
            number: build.number,
            pipeline: pipeline.name.clone(),
            pipeline_path: super::paths::pipeline_path(&scope.org.slug, &pipeline.slug),
            branch: build.branch.clone(),
            commit: build.commit.clone(),
            short_commit: build.commit.chars().take(10).collect(),
            message: text
                .filter(|text| text.lines().nth(1).is_some())
                .map(str::to_owned),
            subject,
            trigger: build.trigger.clone(),
            created: Moment::new(build.created_at, now),
            waited: build
                .started_at
                .filter(|started| *started - build.created_at >= TimeDelta::seconds(1))
                .map(|started| super::time::duration(super::time::between(build.created_at, started))),
            duration,
            since: since.map(exact),
            error: build.error_message.clone(),
            attempt: build.attempt,
            terminal: !ongoing,
            can_cancel: may && ongoing && build.state != BuildState::Canceling,
            can_retry: may && pipeline.allow_manual && !ongoing,
        }
    }

    /// What the tab is called.
    pub(super) fn title(&self) -> String {
        format!(
            "{} {} · {} #{}",
            self.look.sign, self.look.label, self.pipeline, self.number
        )
    }
}

/// A step in the picture of the plan.
struct Node {
    id: String,
    href: String,
    x: u32,
    y: u32,
    look: Look,
    name: String,
    short: String,
}

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    frame: Frame,
    org: String,
    org_path: String,
    head: Head,
    notes: Vec<Note>,
    notices: Vec<String>,
    picture: Layout,
    nodes: Vec<Node>,
    steps: Vec<StepView>,
    seq: u64,
    attempt: i64,
    /// When the log was removed.
    removed: Option<Moment>,
}

/// Which step's log shall be open, and where.
#[derive(Deserialize, Default)]
pub(super) struct Shown {
    step: Option<String>,
    before: Option<u64>,
    from: Option<u64>,
}

impl Shown {
    fn wanted(&self) -> Wanted {
        match (self.before, self.from) {
            (Some(line), _) => Wanted::Before(line),
            (None, Some(line)) => Wanted::From(line),
            (None, None) => Wanted::End,
        }
    }
}

/// `GET /{org}/{pipeline}/builds/{number}`
pub(super) async fn show(
    State(dashboard): Ctx,
    Extension(caller): Extension<Caller>,
    Extension(scope): Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, String)>,
    shown: Result<Query<Shown>, axum::extract::rejection::QueryRejection>,
) -> PageResult {
    let shown = shown.map(|Query(shown)| shown).unwrap_or_default();
    let app = &dashboard.app;
    let (pipeline, build) = find(&dashboard, &scope, &pipeline, &number).await?;
    let jobs = app.store.jobs(build.id).await?;
    let who = caller.user(app).await?.email;
    let (mut steps, plans, notes, notices, seq, attempt) = {
        let outline = dashboard.outlines.of(&build, &*app.logs).await?;
        let mut steps: Vec<_> = jobs
            .iter()
            .map(|job| StepView::new(&build, job, &outline))
            .collect();
        open(&mut steps, &shown);
        let plans = plans(&steps, &outline, &build, &shown);
        (
            steps,
            plans,
            outline.notes.clone(),
            outline.notices.clone(),
            outline.seq,
            outline.attempt,
        )
    };
    for (place, plan) in plans {
        let window = plan.read(&dashboard).await?;
        if let Some(step) = steps.get_mut(place) {
            step.log = Some(window);
        }
    }
    let head = Head::new(&scope, &pipeline, &build);
    let places: std::collections::HashMap<_, _> =
        (0..).zip(&jobs).map(|(place, job)| (job.id, place)).collect();
    let waits_for: Vec<Vec<usize>> = jobs
        .iter()
        .map(|job| {
            job.depends_on
                .iter()
                .filter_map(|id| places.get(id).copied())
                .collect()
        })
        .collect();
    let picture = graph::layout(&waits_for);
    let nodes = steps
        .iter()
        .zip(&picture.places)
        .map(|(step, place)| node(step, *place))
        .collect();
    let mut frame = Frame::new(head.title(), Some(who));
    frame.icon = look::icon(head.look.state);
    let template = BuildPage {
        frame,
        org: scope.org.name.clone(),
        org_path: super::paths::org_path(&scope.org.slug),
        head,
        notes,
        notices,
        picture,
        nodes,
        removed: build.log_removed_at.map(|at| Moment::new(at, Utc::now())),
        steps,
        seq,
        attempt,
    };
    Ok(page(StatusCode::OK, &template))
}

/// Failed steps first, else one that runs; and the one that was asked for.
fn open(steps: &mut [StepView], shown: &Shown) {
    let mut left = OPEN;
    let asked = shown.step.as_deref();
    for step in &mut *steps {
        step.open = asked == Some(step.key.as_str()) || (step.bad && left > 0);
        left -= usize::from(step.open && left > 0);
    }
    if steps.iter().all(|step| !step.open) {
        let running = steps.iter_mut().find(|step| step.state == JobState::Running);
        if let Some(step) = running {
            step.open = true;
        }
    }
    if let [only] = steps {
        only.open = true;
    }
}

fn plans(steps: &[StepView], outline: &Outline, build: &Build, shown: &Shown) -> Vec<(usize, Plan)> {
    let plan = |step: &StepView| {
        let asked = shown.step.as_deref() == Some(step.key.as_str());
        let wanted = if asked { shown.wanted() } else { Wanted::End };
        Plan::new(outline, build.id, step.id, step.anchor.clone(), wanted)
    };
    (0..)
        .zip(steps)
        .filter(|(_, step)| step.open)
        .map(|(place, step)| (place, plan(step)))
        .collect()
}

fn node(step: &StepView, place: graph::Place) -> Node {
    let mut short: String = step.name.chars().take(22).collect();
    if short.len() < step.name.len() {
        short.pop();
        short.push('…');
    }
    Node {
        id: step.id.to_string(),
        href: step.anchor.href.clone(),
        x: place.x,
        y: place.y,
        look: step.look,
        name: step.name.clone(),
        short,
    }
}

/// Lines of a step, and where they stand.
#[derive(Template)]
#[template(path = "lines.html")]
struct Lines {
    window: Window,
    seq: u64,
    attempt: i64,
}

/// `GET /{org}/{pipeline}/builds/{number}/jobs/{job_id}/lines`
pub(super) async fn lines(
    State(dashboard): Ctx,
    Extension(scope): Extension<Scope>,
    Path((_, pipeline, number, job)): Path<(String, String, String, String)>,
    shown: Result<Query<Shown>, axum::extract::rejection::QueryRejection>,
) -> PageResult {
    let shown = shown.map(|Query(shown)| shown).unwrap_or_default();
    let (_, build) = find(&dashboard, &scope, &pipeline, &number).await?;
    let job = job_of(&dashboard, &build, &job).await?;
    let (plan, seq, attempt) = {
        let outline = dashboard.outlines.of(&build, &*dashboard.app.logs).await?;
        let plan = Plan::new(
            &outline,
            build.id,
            job.id.0,
            Anchor::new(&job.key),
            shown.wanted(),
        );
        (plan, outline.seq, outline.attempt)
    };
    let window = plan.read(&dashboard).await?;
    Ok(page(StatusCode::OK, &Lines { window, seq, attempt }))
}

/// `POST /{org}/{pipeline}/builds/{number}/cancel`
pub(super) async fn cancel(
    State(dashboard): Ctx,
    Extension(scope): Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, String)>,
) -> PageResult {
    let (pipeline, build) = find(&dashboard, &scope, &pipeline, &number).await?;
    dashboard.app.cancel(&build).await.map_err(ApiError::from)?;
    let path = build_path(&scope.org.slug, &pipeline.slug, build.number);
    Ok(Redirect::to(&path).into_response())
}

/// `POST /{org}/{pipeline}/builds/{number}/retry`
pub(super) async fn retry(
    State(dashboard): Ctx,
    Extension(scope): Extension<Scope>,
    Path((_, pipeline, number)): Path<(String, String, String)>,
) -> PageResult {
    let (pipeline, build) = find(&dashboard, &scope, &pipeline, &number).await?;
    let again = dashboard
        .app
        .retry(&pipeline, &build)
        .await
        .map_err(ApiError::from)?;
    let path = build_path(&scope.org.slug, &pipeline.slug, again.number);
    Ok(Redirect::to(&path).into_response())
}
