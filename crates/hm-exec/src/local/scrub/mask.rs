//! Masks one stream of bytes as it comes.

use std::mem::take;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::automaton::StateID;
use bytes::Bytes;

use super::MASKED;
use super::patterns::Patterns;

/// Masks a stream, whatever chunks it comes in. Only what may be the beginning of a secret is held back until it is
/// known whether it is one.
#[derive(Debug)]
pub(in crate::local) struct Mask {
    searched: Option<Searched>,
}

#[derive(Debug)]
struct Searched {
    patterns: Arc<Patterns>,
    state: StateID,
    /// What has been read and not been given out.
    held: Vec<u8>,
    /// What of `held` is to be masked.
    spans: Vec<Range<usize>>,
    /// The mask of a span at the beginning of `held` has been given out already.
    open: bool,
}

impl Mask {
    pub(super) fn new(patterns: Option<Arc<Patterns>>) -> Self {
        Self {
            searched: patterns.map(|patterns| Searched {
                state: patterns.start(),
                patterns,
                held: Vec::new(),
                spans: Vec::new(),
                open: false,
            }),
        }
    }

    /// Takes the next bytes and gives out what is known to be no part of a secret, and masks.
    pub(in crate::local) fn feed(&mut self, chunk: Bytes) -> Bytes {
        match &mut self.searched {
            None => chunk,
            Some(searched) => searched.feed(chunk),
        }
    }

    /// Gives out what is left at the end of the stream.
    pub(in crate::local) fn finish(&mut self) -> Bytes {
        let Some(searched) = &mut self.searched else {
            return Bytes::new();
        };
        searched.state = searched.patterns.start();
        let held = take(&mut searched.held);
        searched.give_out(&held, held.len()).into()
    }
}

impl Searched {
    fn feed(&mut self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            self.state = self.patterns.scan(self.state, &chunk, 0, &mut self.spans);
            let keep = chunk.len() - self.patterns.depth(self.state);
            if self.spans.is_empty() {
                self.held.extend_from_slice(&chunk[keep..]);
                return chunk.slice(..keep);
            }
            return self.give_out(&chunk, keep).into();
        }
        let from = self.held.len();
        let mut all = take(&mut self.held);
        all.extend_from_slice(&chunk);
        self.state = self.patterns.scan(self.state, &all, from, &mut self.spans);
        let keep = all.len() - self.patterns.depth(self.state);
        self.give_out(&all, keep).into()
    }

    /// Gives out `all` up to `keep`, and holds the rest. The mask of a span that reaches into the rest is given out
    /// now, so that a value which repeats without end does not grow what is held.
    fn give_out(&mut self, all: &[u8], keep: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(keep);
        let mut done = 0;
        let mut later = Vec::new();
        for span in take(&mut self.spans) {
            if span.start >= keep && !(span.start == 0 && self.open) {
                later.push(span.start - keep..span.end - keep);
                continue;
            }
            out.extend_from_slice(&all[done..span.start]);
            if !take(&mut self.open) {
                out.extend_from_slice(MASKED.as_bytes());
            }
            done = span.end;
            if span.end > keep {
                self.open = true;
                later.push(0..span.end - keep);
            }
        }
        if done < keep {
            out.extend_from_slice(&all[done..keep]);
        }
        self.held.extend_from_slice(&all[keep..]);
        self.spans = later;
        out
    }
}
