//! A step's lines: which records are one, and how one is shown.

use std::fmt::Write as _;

use hm_plugin_protocol::events::{BuildEvent, StdStream};
use uuid::Uuid;

use super::ansi;
use super::outline::{BLOCK, Mark, PIECE, Pens};
use super::pen::Pen;
use crate::BuildId;
use crate::logs::{LogBus, LogError, LogReader, Record};

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
            ..
        } => Some(Said::Step {
            stream: *stream,
            text: line,
            partial: *partial,
        }),
        BuildEvent::ServiceLog {
            service,
            line,
            partial,
            ..
        } => Some(Said::Service {
            name: service,
            text: line,
            partial: *partial,
        }),
        BuildEvent::StepRetry {
            attempt, exit_code, ..
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
            href: format!("step-{}", super::routes::encoded(key)),
        }
    }

    /// The step's key, as the page's own address takes it.
    pub(super) fn query(&self) -> &str {
        self.href.strip_prefix("step-").unwrap_or_default()
    }
}

/// A record that is a line of a step.
pub(super) struct Line {
    event: BuildEvent,
    pub(super) number: u64,
}

impl Line {
    pub(super) fn said(&self) -> Option<Said<'_>> {
        said(&self.event)
    }
}

/// A step's lines from one on, read piece by piece; blocks of the log without any are passed over.
pub(super) struct Walk {
    build: BuildId,
    step: Uuid,
    /// What the step's id looks like in a record.
    needle: String,
    reader: Box<dyn LogReader>,
    /// Where the blocks to come begin.
    marks: std::vec::IntoIter<Mark>,
    block: u64,
    /// The number of the last line.
    number: u64,
    /// The last line that there is.
    last: u64,
}

impl Walk {
    /// From the block that the first mark stands for, to the line `last`.
    pub(super) async fn begin(
        logs: &dyn LogBus,
        build: BuildId,
        step: Uuid,
        marks: Vec<Mark>,
        last: u64,
    ) -> Result<Option<Self>, LogError> {
        let mut marks = marks.into_iter();
        let Some(first) = marks.next() else {
            return Ok(None);
        };
        Ok(Some(Self {
            build,
            step,
            needle: step.to_string(),
            reader: logs.read(build, first.seq).await?,
            marks,
            block: first.seq / BLOCK,
            number: first.lines,
            last,
        }))
    }

    /// The next lines; none at the end.
    pub(super) async fn next(&mut self, logs: &dyn LogBus) -> Result<Vec<Line>, LogError> {
        while self.number < self.last {
            let records = self.reader.next(PIECE).await?;
            if records.is_empty() {
                break;
            }
            let mut lines = Vec::new();
            for (seq, bytes) in records {
                if seq / BLOCK > self.block {
                    let Some(next) = self.marks.next() else {
                        self.number = self.last;
                        break;
                    };
                    self.block = next.seq / BLOCK;
                    if self.block > seq / BLOCK {
                        self.reader = logs.read(self.build, next.seq).await?;
                        break;
                    }
                }
                if self.number == self.last {
                    break;
                }
                if memchr::memmem::find(&bytes, self.needle.as_bytes()).is_none() {
                    continue;
                }
                let event = Record::decode(&bytes).ok().and_then(|record| record.event);
                if let Some(event) = event.filter(|event| event.step_id() == Some(self.step))
                    && said(&event).is_some()
                {
                    self.number += 1;
                    lines.push(Line {
                        event,
                        number: self.number,
                    });
                }
            }
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
        Ok(Vec::new())
    }
}
