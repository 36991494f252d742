//! Finds all forms of all secrets at once.
//!
//! An Aho-Corasick automaton reads what may be part of a secret. Between these places a search for the first bytes of
//! all patterns, which looks at many bytes at a time, skips to the next one. The automaton's state after some input
//! is the longest end of that input which begins a pattern: its depth is how much has to be held back.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, BuildError, MatchError, MatchKind};

use super::{MASKED, SHORTEST};

/// How many of a pattern's bytes are looked for between the places.
const GATE: usize = SHORTEST;

/// The patterns, ready to be searched for.
pub(super) struct Patterns {
    gate: AhoCorasick,
    automaton: NFA,
    start: StateID,
    /// How many bytes of a pattern each state stands for.
    depths: HashMap<StateID, usize>,
}

/// Why there is no automaton.
#[derive(Debug, thiserror::Error)]
pub(super) enum PatternsError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Start(#[from] MatchError),
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The automaton would show the values.
        write!(f, "Patterns({})", self.automaton.patterns_len())
    }
}

impl Patterns {
    /// Each pattern has at least [`GATE`] bytes.
    pub(super) fn new(patterns: &BTreeSet<Vec<u8>>) -> Result<Self, PatternsError> {
        let beginnings: BTreeSet<&[u8]> = patterns
            .iter()
            .filter_map(|pattern| pattern.get(..GATE))
            .collect();
        let gate = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .kind(Some(AhoCorasickKind::DFA))
            .build(beginnings)?;
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(patterns)?;
        let start = automaton.start_state(Anchored::No)?;
        let mut depths = HashMap::new();
        for pattern in patterns {
            let mut state = start;
            for (at, byte) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.insert(state, at + 1);
            }
        }
        Ok(Self {
            gate,
            automaton,
            start,
            depths,
        })
    }

    /// The state before any input.
    pub(super) const fn start(&self) -> StateID {
        self.start
    }

    /// How many of the last bytes may be the beginning of a pattern.
    pub(super) fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }

    /// Reads `bytes` from `from` on, all before having led to `state`, and adds what is to be masked to `spans`,
    /// which are in order and do not overlap.
    pub(super) fn scan(
        &self,
        mut state: StateID,
        bytes: &[u8],
        from: usize,
        spans: &mut Vec<Range<usize>>,
    ) -> StateID {
        let mut at = from;
        while at < bytes.len() {
            if state == self.start {
                at += self.skip(&bytes[at..]);
            }
            state = self.automaton.next_state(Anchored::No, state, bytes[at]);
            at += 1;
            if self.automaton.is_match(state) {
                let longest = (0..self.automaton.match_len(state))
                    .map(|index| self.automaton.match_pattern(state, index))
                    .map(|pattern| self.automaton.pattern_len(pattern))
                    .max();
                if let Some(longest) = longest {
                    cover(spans, at - longest..at);
                }
            }
        }
        state
    }

    /// How many bytes no pattern begins in, at least; always fewer than there are.
    fn skip(&self, bytes: &[u8]) -> usize {
        match self.gate.find(bytes) {
            Some(found) => found.start(),
            None => bytes.len() - bytes.len().clamp(1, GATE - 1),
        }
    }

    /// The whole of `bytes` masked, where there is anything to mask.
    pub(super) fn replace(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut spans = Vec::new();
        self.scan(self.start, bytes, 0, &mut spans);
        if spans.is_empty() {
            return None;
        }
        let mut masked = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for span in spans {
            masked.extend_from_slice(&bytes[done..span.start]);
            masked.extend_from_slice(MASKED.as_bytes());
            done = span.end;
        }
        masked.extend_from_slice(&bytes[done..]);
        Some(masked)
    }
}

/// Adds a span that ends at or behind the end of all others, and becomes one with those that it overlaps.
fn cover(spans: &mut Vec<Range<usize>>, mut span: Range<usize>) {
    while let Some(last) = spans.pop_if(|last| last.end > span.start) {
        span.start = span.start.min(last.start);
    }
    spans.push(span);
}
