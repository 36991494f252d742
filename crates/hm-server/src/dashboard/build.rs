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
use super::lists::SUBJECT;
use super::look::{self, Look};
use super::outline::{Note, Outline};
use super::paths::build_path;
use super::said::Anchor;
use super::shown::clamped;
use super::step::{StepView, took};
use super::time::{Moment, exact};
use super::window::{Plan, Wanted, Window};
use super::{Ctx, Dashboard, PageResult};
use crate::JobId;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::model::{Build, BuildState, Job, JobState, Pipeline, Role};

/// How many logs a page opens by itself.
const OPEN: usize = 3;
/// How many steps the picture of a plan has space for, and a page without folding any.
const MANY: usize = 40;

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
    /// What it waits for.
    waits: Option<String>,
    duration: Option<String>,
    since: Option<String>,
    error: Option<String>,
    attempt: i64,
    terminal: bool,
    can_cancel: bool,
    can_retry: bool,
}

impl Head {
    pub(super) fn new(scope: &Scope, pipeline: &Pipeline, build: &Build, waits: Option<String>) -> Self {
        let now = Utc::now();
        let (duration, since) = took(build);
        let text = build
            .message
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let line = text.and_then(|text| text.lines().next());
        let subject = line.map(|line| clamped(line, SUBJECT));
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
                .filter(|text| Some(*text) != subject.as_deref())
                .map(str::to_owned),
            subject,
            trigger: build.trigger.clone(),
            created: Moment::new(build.created_at, now),
            waited: build
                .started_at
                .filter(|started| *started - build.created_at >= TimeDelta::seconds(1))
                .map(|started| super::time::duration(super::time::between(build.created_at, started))),
            waits,
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
    /// How many steps are not in the picture.
    left_out: usize,
    steps: Vec<StepView>,
    /// The steps that came to nothing new, folded where there are many.
    folded: Vec<StepView>,
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
    let waits = dashboard.app.waits_for(&build).await.map_err(ApiError::from)?;
    let head = Head::new(&scope, &pipeline, &build, waits);
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
    let drawn = drawn(&steps, &waits_for);
    let picture = graph::layout(&graph::among(&waits_for, &drawn));
    let nodes = drawn
        .iter()
        .filter_map(|place| steps.get(*place))
        .zip(&picture.places)
        .map(|(step, place)| node(step, *place))
        .collect();
    let left_out = steps.len() - drawn.len();
    let folded = fold(&mut steps);
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
        left_out,
        folded,
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

/// The steps that the picture shows, in the plan's order: all of a build that has not many; else those that did not pass, what they
/// wait for, and the first others, as long as there is space.
fn drawn(steps: &[StepView], waits_for: &[Vec<usize>]) -> Vec<usize> {
    if steps.len() <= MANY {
        return (0..steps.len()).collect();
    }
    let urgency = |step: &StepView| match step.state {
        _ if step.bad => 0,
        JobState::Running | JobState::TimingOut | JobState::Canceling => 1,
        JobState::Passed => 3,
        _ => 2,
    };
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|place| steps.get(*place).map(urgency));
    let mut drawn = std::collections::BTreeSet::new();
    let mut wanted = Vec::new();
    for place in order {
        wanted.push(place);
        while drawn.len() < MANY
            && let Some(place) = wanted.pop()
        {
            if drawn.insert(place) {
                wanted.extend(waits_for.get(place).into_iter().flatten());
            }
        }
    }
    drawn.into_iter().collect()
}

/// Takes the steps out that passed, where there are many and nobody has asked for them: the failed ones are not to be looked for.
fn fold(steps: &mut Vec<StepView>) -> Vec<StepView> {
    if steps.len() <= MANY {
        return Vec::new();
    }
    let (folded, mut shown): (Vec<_>, Vec<_>) = std::mem::take(steps)
        .into_iter()
        .partition(|step| step.state == JobState::Passed && !step.open);
    shown.sort_by_key(|step| !step.bad);
    *steps = shown;
    folded
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
    Node {
        id: step.id.to_string(),
        href: step.anchor.href.clone(),
        x: place.x,
        y: place.y,
        look: step.look,
        name: step.name.clone(),
        short: clamped(&step.name, 22),
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
