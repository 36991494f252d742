//! What a page is told while a build goes on.

use askama::Template;
use axum::response::sse::Event;
use serde::Serialize;
use uuid::Uuid;

use super::build::Head;
use super::look;
use super::outline::Note;
use super::shown::plain;
use super::step::{Facts, StepView, Summary};
use super::window::Window;

/// What a page is told. Each can be heard twice without harm: lines have numbers, notes too, and the rest says what is.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Change {
    /// The build's state.
    Build {
        state: &'static str,
        label: &'static str,
        title: String,
        icon: String,
        terminal: bool,
        html: String,
    },
    /// A step's state.
    Step {
        job: Uuid,
        state: &'static str,
        sign: &'static str,
        label: &'static str,
        bad: bool,
        ms: u64,
        summary: String,
        facts: String,
    },
    /// More lines of a step.
    Lines {
        job: Uuid,
        first: u64,
        last: u64,
        html: String,
    },
    /// The end of a step's log, in place of whatever lines the page has.
    Tail {
        job: Uuid,
        first: u64,
        last: u64,
        html: String,
    },
    /// The build starts over.
    Attempt { attempt: i64 },
    /// The server says something.
    Note { seq: u64, text: String },
    /// All that comes before this record has been told.
    At { seq: u64 },
    /// There will be nothing more.
    Done { seq: u64 },
}

impl Change {
    pub(super) fn build(head: &Head, terminal: bool) -> Option<Self> {
        Some(Self::Build {
            state: head.look.state,
            label: head.look.label,
            title: plain(&head.title()),
            icon: look::icon(head.look.state),
            terminal,
            html: head.render().ok()?,
        })
    }

    pub(super) fn step(step: &StepView) -> Option<Self> {
        Some(Self::Step {
            job: step.id,
            state: step.look.state,
            sign: step.look.sign,
            label: step.look.label,
            bad: step.bad,
            ms: step.ms,
            summary: Summary { step }.render().ok()?,
            facts: Facts { step }.render().ok()?,
        })
    }

    pub(super) fn tail(job: Uuid, window: Window) -> Self {
        Self::Tail {
            job,
            first: window.first,
            last: window.last,
            html: window.html,
        }
    }

    pub(super) fn note(note: &Note) -> Self {
        Self::Note {
            seq: note.seq,
            text: plain(&note.text),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::Step { .. } => "step",
            Self::Lines { .. } => "lines",
            Self::Tail { .. } => "tail",
            Self::Attempt { .. } => "attempt",
            Self::Note { .. } => "note",
            Self::At { .. } => "at",
            Self::Done { .. } => "done",
        }
    }

    /// As it is sent. Only what ends a batch has a number to go on from: one that breaks off in a batch hears the whole of it again.
    pub(super) fn event(&self) -> Option<Event> {
        let event = Event::default().event(self.name());
        let event = match self {
            Self::At { seq } | Self::Done { seq } => event.id(seq.to_string()),
            _ => event,
        };
        event.json_data(self).ok()
    }
}
