//! A step, as a page shows it.

use askama::Template;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::look::{self, Look};
use super::outline::{Outline, StepOutline};
use super::said::Anchor;
use super::time::{between, duration, exact};
use super::window::Window;
use crate::model::{Build, Job, JobState};

/// A step, as a page shows it.
pub(super) struct StepView {
    pub(super) id: Uuid,
    pub(super) key: String,
    pub(super) name: String,
    pub(super) command: String,
    pub(super) anchor: Anchor,
    pub(super) look: Look,
    /// It ended, and not well.
    pub(super) bad: bool,
    pub(super) state: JobState,
    pub(super) duration: Option<String>,
    /// The same in milliseconds.
    pub(super) ms: u64,
    /// Since when it runs.
    pub(super) since: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) tries: u32,
    pub(super) facts: Vec<Fact>,
    pub(super) failures: Vec<String>,
    pub(super) tests: Option<String>,
    pub(super) lines: u64,
    pub(super) open: bool,
    pub(super) log: Option<Window>,
}

/// Something to know about a step.
pub(super) struct Fact {
    pub(super) about: &'static str,
    pub(super) what: String,
}

/// The line that stands for a step.
#[derive(Template)]
#[template(path = "step_summary.html")]
pub(super) struct Summary<'a> {
    pub(super) step: &'a StepView,
}

/// What there is to know about a step.
#[derive(Template)]
#[template(path = "step_facts.html")]
pub(super) struct Facts<'a> {
    pub(super) step: &'a StepView,
}

impl StepView {
    /// The log knows first what a step of a running build does; of an ended one the store knows all, even where
    /// the log is gone.
    pub(super) fn new(build: &Build, job: &Job, outline: &Outline) -> Self {
        let told = outline.steps.get(&job.id.0);
        let nothing = StepOutline::default();
        let told = told.unwrap_or(&nothing);
        let from_store = build.state.is_terminal() && job.state.is_terminal();
        let state = if from_store {
            job.state
        } else {
            told.state.unwrap_or_else(|| outline.untold())
        };
        let (soft_failed, exit_code) = if from_store {
            (job.soft_failed, job.exit_code)
        } else {
            (told.soft_failed, told.exit_code)
        };
        let message = told.message.as_ref().or(job.message.as_ref());
        let took = match (told.duration_ms, job.started_at, job.finished_at) {
            (Some(took), ..) => Some(took),
            (None, Some(from), Some(to)) if state.is_terminal() => Some(between(from, to)),
            _ => None,
        };
        let bad = matches!(state, JobState::Failed | JobState::TimedOut) && !soft_failed;
        Self {
            id: job.id.0,
            key: job.key.clone(),
            name: job.name.clone(),
            command: job.command.clone(),
            anchor: Anchor::new(&job.key),
            look: look::job(state, soft_failed, told.cached),
            bad,
            state,
            ms: took.unwrap_or_default(),
            duration: took.filter(|_| !told.cached).map(duration),
            since: (state == JobState::Running).then(|| exact(job.started_at.unwrap_or_else(Utc::now))),
            exit_code: exit_code.filter(|code| *code != 0),
            tries: told.tries,
            facts: facts(told, message),
            failures: told
                .tests
                .as_ref()
                .map(|tests| tests.failures.clone())
                .unwrap_or_default(),
            tests: told.tests.as_ref().map(|tests| {
                let passed = tests
                    .total
                    .saturating_sub(tests.failed)
                    .saturating_sub(tests.skipped);
                format!(
                    "{passed} passed, {} failed, {} skipped",
                    tests.failed, tests.skipped
                )
            }),
            lines: told.lines,
            open: false,
            log: None,
        }
    }
}

fn facts(told: &StepOutline, message: Option<&String>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |about, what: &str| {
        facts.push(Fact {
            about,
            what: what.to_owned(),
        });
    };
    if let Some(message) = message {
        add("Message", message);
    }
    if told.cached {
        add("Cache", "Its snapshot was there: nothing had to run.");
    }
    if let Some(why) = &told.cache_miss {
        add("Cache", why);
    }
    if let Some(image) = &told.image {
        add("Image", image);
    }
    for artifact in &told.artifacts {
        add(
            "Artifact",
            &format!("{} ({})", artifact.path, size(artifact.bytes)),
        );
    }
    if told.more_artifacts > 0 {
        add("Artifact", &format!("and {} more", told.more_artifacts));
    }
    facts
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// How long a build took, or since when it runs.
pub(super) fn took(build: &Build) -> (Option<String>, Option<DateTime<Utc>>) {
    match (build.started_at, build.finished_at) {
        (Some(from), Some(to)) => (Some(duration(between(from, to))), None),
        (Some(from), None) => (None, Some(from)),
        _ => (None, None),
    }
}
