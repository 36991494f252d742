use std::collections::VecDeque;

use hm_plugin_protocol::events::StdStream;

/// How many lines a tail keeps.
const LINES: usize = 50;

/// How many bytes of a line a tail keeps: a screenful and more, yet fifty of them are nothing.
const LINE_BYTES: usize = 4096;

/// The newest lines of a step's output, of both streams as they came. Pieces of one line are glued; of a line that overwrites
/// itself by carriage returns (a progress bar) only what was last on it is kept.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    lines: VecDeque<String>,
    /// How many lines there were, those no longer kept included.
    seen: u64,
    /// The number of the line that goes on with the next piece, by stream.
    open: [Option<u64>; 2],
    /// The number of the line that was written to last.
    newest: u64,
}

impl Tail {
    /// Adds a line, or a piece of one that goes on in the next call for this stream.
    pub fn push(&mut self, stream: StdStream, text: &str, partial: bool) {
        let slot = stream as usize;
        let number = match self.open[slot] {
            Some(number) if number >= self.first_kept() => number,
            _ => self.start_line(),
        };
        self.open[slot] = partial.then_some(number);
        self.newest = number;
        let index = usize::try_from(number - self.first_kept()).unwrap_or(usize::MAX);
        if let Some(line) = self.lines.get_mut(index) {
            append(line, text);
        }
    }

    /// The lines that are kept, oldest first.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The newest line that is not blank.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        let last = self
            .newest
            .checked_sub(self.first_kept())
            .and_then(|index| usize::try_from(index).ok());
        let written = last
            .and_then(|index| self.lines.get(index))
            .filter(|line| !line.trim().is_empty());
        written
            .or_else(|| self.lines.iter().rev().find(|line| !line.trim().is_empty()))
            .map(String::as_str)
    }

    /// How many lines there were, those no longer kept included.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Forgets all but the newest `count` lines.
    pub(super) fn keep(&mut self, count: usize) {
        self.lines.drain(..self.lines.len().saturating_sub(count));
        self.lines.shrink_to_fit();
    }

    fn first_kept(&self) -> u64 {
        self.seen - self.lines.len() as u64
    }

    fn start_line(&mut self) -> u64 {
        let mut line = if self.lines.len() >= LINES {
            self.lines.pop_front()
        } else {
            None
        }
        .unwrap_or_default();
        line.clear();
        self.lines.push_back(line);
        self.seen += 1;
        self.seen - 1
    }
}

fn append(line: &mut String, text: &str) {
    let text = text.trim_end_matches('\r');
    let text = match text.rfind('\r') {
        Some(at) => {
            line.clear();
            &text[at + 1..]
        }
        None => text,
    };
    let room = LINE_BYTES.saturating_sub(line.len());
    line.push_str(&text[..text.floor_char_boundary(room)]);
}
