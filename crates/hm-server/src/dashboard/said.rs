//! A step's lines: which events are one, and how one is shown.

use std::fmt::Write as _;

use hm_plugin_protocol::events::{BuildEvent, StdStream};

use super::ansi::LineText;
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
        stream: StdStream,
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
            stream,
            line,
            partial,
            ..
        } => Some(Said::Service {
            name: service,
            stream: *stream,
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
        // What comes behind a carriage return is written over the piece before.
        let again = match self {
            Self::Step { text, .. } | Self::Service { text, .. } => {
                text.trim_end_matches('\r').contains('\r')
            }
            Self::Retry { .. } => false,
        };
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "<div class=\"{class}{}{}\" id=\"{}-L{number}\" data-n=\"{number}\"><a href=\"#{}-L{number}\">{number}</a><span>",
            if partial { " goes-on" } else { "" },
            if again { " again" } else { "" },
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
}

/// A step's lines as text: pieces of one line are put together, whatever comes between them.
#[derive(Default)]
pub(super) struct Text {
    open: Vec<((Option<String>, StdStream), LineText)>,
}

impl Text {
    /// Adds what a line, or a piece of one, makes known of the text.
    pub(super) fn add(&mut self, said: &Said<'_>, out: &mut String) {
        let (service, stream, text, partial) = match *said {
            Said::Step {
                stream,
                text,
                partial,
            } => (None, stream, text, partial),
            Said::Service {
                name,
                stream,
                text,
                partial,
            } => (Some(name), stream, text, partial),
            Said::Retry { attempt, exit_code } => {
                self.finish(out);
                let _ = writeln!(out, "Exit code {exit_code}; attempt {attempt} begins.");
                return;
            }
        };
        let known = self
            .open
            .iter()
            .position(|((of, on), _)| of.as_deref() == service && *on == stream);
        let mut line = match known {
            Some(at) => self.open.swap_remove(at).1,
            None => LineText::behind(service.map_or_else(String::new, |name| format!("[{name}] "))),
        };
        line.push(text, out);
        if partial {
            self.open.push(((service.map(str::to_owned), stream), line));
        } else {
            line.end(out);
            out.push('\n');
        }
    }

    /// Adds the lines that do not go on any more.
    pub(super) fn finish(&mut self, out: &mut String) {
        for (_, mut line) in self.open.drain(..) {
            line.end(out);
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
