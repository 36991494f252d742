//! A step's lines, read from the build's log.

use hm_plugin_protocol::events::BuildEvent;
use uuid::Uuid;

use super::outline::{BLOCK, Mark, PIECE};
use super::said::{Said, said};
use crate::BuildId;
use crate::logs::{LogBus, LogError, LogReader, Record};

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
