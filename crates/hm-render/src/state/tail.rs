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

#[cfg(test)]
mod tests {
    use super::*;
    use StdStream::{Stderr, Stdout};

    fn lines(tail: &Tail) -> Vec<&str> {
        tail.lines().collect()
    }

    #[test]
    fn keeps_the_newest_fifty() {
        let mut tail = Tail::default();
        for n in 0..1000 {
            tail.push(Stdout, &n.to_string(), false);
        }
        assert_eq!((tail.lines().len(), tail.seen()), (LINES, 1000));
        assert_eq!(
            (lines(&tail)[0], lines(&tail)[49], tail.newest()),
            ("950", "999", Some("999"))
        );
    }

    #[test]
    fn glues_pieces_by_stream() {
        let mut tail = Tail::default();
        tail.push(Stdout, "a", true);
        tail.push(Stderr, "x", true);
        assert_eq!(tail.newest(), Some("x"));
        tail.push(Stdout, "b", true);
        assert_eq!(tail.newest(), Some("ab"));
        tail.push(Stderr, "y", false);
        tail.push(Stdout, "c", false);
        tail.push(Stdout, "d", false);
        assert_eq!(lines(&tail), ["abc", "xy", "d"]);
    }

    #[test]
    fn a_line_whose_beginning_is_gone_goes_on_as_a_new_one() {
        let mut tail = Tail::default();
        tail.push(Stderr, "old", true);
        for n in 0..LINES {
            tail.push(Stdout, &n.to_string(), false);
        }
        tail.push(Stderr, "rest", false);
        assert_eq!(lines(&tail).last(), Some(&"rest"));
        assert_eq!(tail.lines().len(), LINES);
    }

    #[test]
    fn memory_has_a_bound() {
        let mut tail = Tail::default();
        let piece = "é".repeat(32 * 1024);
        for _ in 0..500 {
            tail.push(Stdout, &piece, true);
        }
        for _ in 0..500 {
            tail.push(Stderr, &piece, false);
        }
        assert!(tail.lines().all(|line| line.len() <= LINE_BYTES));
        assert!(tail.lines.iter().map(String::capacity).sum::<usize>() <= 2 * LINES * LINE_BYTES);
    }

    #[test]
    fn a_progress_bar_leaves_its_last_state() {
        let mut tail = Tail::default();
        tail.push(Stdout, "1%\r2%\r", true);
        tail.push(Stdout, "\r50%\r99%", true);
        tail.push(Stdout, "\r100%", false);
        assert_eq!(lines(&tail), ["100%"]);
    }

    #[test]
    fn a_blank_line_is_no_news() {
        let mut tail = Tail::default();
        assert_eq!(tail.newest(), None);
        tail.push(Stdout, "said", false);
        tail.push(Stdout, "  ", false);
        assert_eq!(tail.newest(), Some("said"));
        tail.keep(0);
        assert_eq!((tail.newest(), tail.seen()), (None, 2));
    }
}
