//! A step's lines: which events are one, and how one is shown.

use std::fmt::Write as _;

use hm_plugin_protocol::events::{BuildEvent, StdStream};

use super::pen::{Pen, Pens};
use super::{ansi, paths};

/// What a line is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said<'a> {
    /// The step's own output.
    Step {
        stream: StdStream,
        text: &'a str,
        partial: bool,
    },
    /// A service's output.
    Service {
        name: &'a str,
        text: &'a str,
        partial: bool,
    },
    /// It failed and is tried again.
    Retry { attempt: u32, exit_code: i32 },
}

/// The line that an event is, where it is one.
pub(super) fn said(event: &BuildEvent) -> Option<Said<'_>> {
    match event {
        BuildEvent::StepLog {
            stream,
            line,
            partial,
            service: None,
            ..
        } => Some(Said::Step {
            stream: *stream,
            text: line,
            partial: *partial,
        }),
        BuildEvent::StepLog {
            service: Some(service),
            line,
            partial,
            ..
        } => Some(Said::Service {
            name: service,
            text: line,
            partial: *partial,
        }),
        BuildEvent::StepStart {
            attempt: Some(attempt),
            previous_exit_code: Some(exit_code),
            ..
        } => Some(Said::Retry {
            attempt: *attempt,
            exit_code: *exit_code,
        }),
        _ => None,
    }
}

impl Said<'_> {
    /// Leaves the pens as the line does.
    pub(super) fn write_with(&self, pens: &mut Pens) {
        match self {
            Self::Step { stream, text, .. } => {
                let pen = pens.of(*stream);
                *pen = pen.after(text);
            }
            // Each try is a process of its own.
            Self::Retry { .. } => *pens = Pens::default(),
            Self::Service { .. } => {}
        }
    }

    /// Adds the line to a page, and leaves the pens as it does.
    pub(super) fn show(&self, out: &mut String, anchor: &Anchor, number: u64, pens: &mut Pens) {
        let (class, partial) = match self {
            Self::Step {
                stream: StdStream::Stdout,
                partial,
                ..
            } => ("line", *partial),
            Self::Step {
                stream: StdStream::Stderr,
                partial,
                ..
            } => ("line err", *partial),
            Self::Service { partial, .. } => ("line svc", *partial),
            Self::Retry { .. } => ("line meta", false),
        };
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "<div class=\"{class}{}\" id=\"{}-L{number}\" data-n=\"{number}\"><a href=\"#{}-L{number}\">{number}</a><span>",
            if partial { " goes-on" } else { "" },
            anchor.id,
            anchor.href,
        );
        match self {
            Self::Step { stream, text, .. } => {
                let pen = pens.of(*stream);
                let (html, after) = ansi::html(text, *pen);
                *pen = after;
                out.push_str(&html);
            }
            Self::Service { name, text, .. } => {
                out.push_str("<b class=\"service\">");
                ansi::escape(out, name.chars());
                out.push_str("</b> ");
                out.push_str(&ansi::html(text, Pen::default()).0);
            }
            Self::Retry { attempt, exit_code } => {
                *pens = Pens::default();
                let _ = write!(out, "Exit code {exit_code}; attempt {attempt} begins.");
            }
        }
        out.push_str("</span></div>\n");
    }

    /// Adds the line to a text.
    pub(super) fn write(&self, out: &mut String) {
        let (text, partial) = match self {
            Self::Step { text, partial, .. } => (ansi::text(text), *partial),
            Self::Service { name, text, partial } => (format!("[{name}] {}", ansi::text(text)), *partial),
            Self::Retry { attempt, exit_code } => {
                (format!("Exit code {exit_code}; attempt {attempt} begins."), false)
            }
        };
        out.push_str(&text);
        if !partial {
            out.push('\n');
        }
    }
}

/// What links to a step are called: as an attribute, and in an address.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) id: String,
    pub(super) href: String,
}

impl Anchor {
    pub(super) fn new(key: &str) -> Self {
        let mut id = "step-".to_owned();
        ansi::escape(&mut id, key.chars());
        Self {
            id,
            href: format!("step-{}", paths::encoded(key)),
        }
    }

    /// The step's key, as the page's own address takes it.
    pub(super) fn query(&self) -> &str {
        self.href.strip_prefix("step-").unwrap_or_default()
    }
}
