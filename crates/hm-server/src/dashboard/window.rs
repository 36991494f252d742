//! A piece of a step's log, as a page holds it: never more than so many lines and bytes, and it says which.

use std::collections::VecDeque;

use uuid::Uuid;

use super::Dashboard;
use super::outline::{Mark, Outline};
use super::pen::Pens;
use super::said::Anchor;
use super::walk::Walk;
use crate::BuildId;
use crate::logs::LogError;

/// How many lines of a step a page holds.
pub(super) const LINES: u64 = 2000;
/// How many bytes of HTML, but for one line at least.
const BYTES: usize = 512 << 10;

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The last ones.
    End,
    /// Those before this one.
    Before(u64),
    /// This one and those after it.
    From(u64),
}

/// Some lines of a step, as HTML.
#[derive(Debug)]
pub(super) struct Window {
    /// The first line's number; one more than `last` where there is none.
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many lines there are in all.
    pub(super) total: u64,
    pub(super) html: String,
    /// The pens behind the last line.
    pub(super) pens: Pens,
}

/// Where a window is to be read, taken from an outline, so that the outline is free meanwhile.
pub(super) struct Plan {
    build: BuildId,
    step: Uuid,
    anchor: Anchor,
    marks: Vec<Mark>,
    /// The pens at the first mark.
    pens: Pens,
    first: u64,
    last: u64,
    total: u64,
    from_front: bool,
}

impl Plan {
    /// For a step of a build.
    pub(super) fn new(outline: &Outline, build: BuildId, step: Uuid, anchor: Anchor, wanted: Wanted) -> Self {
        let told = outline.steps.get(&step);
        let total = told.map_or(0, |told| told.lines);
        let (first, last) = match wanted {
            Wanted::End => ((total + 1).saturating_sub(LINES), total),
            Wanted::Before(line) => {
                let last = line.saturating_sub(1).min(total);
                ((last + 1).saturating_sub(LINES), last)
            }
            Wanted::From(line) => (line, line.saturating_add(LINES - 1).min(total)),
        };
        let first = first.clamp(1, total + 1);
        let mut marks = Vec::new();
        if let Some(told) = told.filter(|_| first <= last) {
            let begin = told
                .marks
                .partition_point(|mark| mark.lines < first)
                .saturating_sub(1);
            let end = told.marks.partition_point(|mark| mark.lines < last);
            marks.extend_from_slice(told.marks.get(begin..end).unwrap_or_default());
        }
        let pens = match (marks.first(), told) {
            (Some(mark), _) => mark.pens,
            (None, Some(told)) => told.pens,
            (None, None) => Pens::default(),
        };
        Self {
            build,
            step,
            anchor,
            marks,
            pens,
            first,
            last,
            total,
            from_front: matches!(wanted, Wanted::From(_)),
        }
    }

    /// Reads it.
    pub(super) async fn read(self, dashboard: &Dashboard) -> Result<Window, LogError> {
        let logs = &*dashboard.app.logs;
        let mut pens = self.pens;
        let mut shown: VecDeque<(u64, String, Pens)> = VecDeque::new();
        let mut bytes = 0;
        let walk = Walk::begin(logs, self.build, self.step, self.marks, self.last).await?;
        'read: {
            let Some(mut walk) = walk else { break 'read };
            loop {
                let lines = walk.next(logs).await?;
                if lines.is_empty() {
                    break;
                }
                for line in lines {
                    let Some(said) = line.said() else { continue };
                    if line.number < self.first {
                        said.write_with(&mut pens);
                        continue;
                    }
                    let mut html = String::new();
                    said.show(&mut html, &self.anchor, line.number, &mut pens);
                    bytes += html.len();
                    if self.from_front && bytes > BYTES && !shown.is_empty() {
                        break 'read;
                    }
                    shown.push_back((line.number, html, pens));
                    while bytes > BYTES && shown.len() > 1 {
                        bytes -= shown.pop_front().map_or(0, |(_, html, _)| html.len());
                    }
                }
            }
        }
        let first = shown.front().map_or(self.last + 1, |(number, ..)| *number);
        let last = shown.back().map_or(self.last, |(number, ..)| *number);
        let pens = shown.back().map_or(pens, |(.., pens)| *pens);
        Ok(Window {
            first,
            last,
            total: self.total,
            html: shown.into_iter().map(|(_, html, _)| html).collect(),
            pens,
        })
    }
}
