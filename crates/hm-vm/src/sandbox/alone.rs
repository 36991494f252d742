//! Why a command failed in a step that has no ids but root's: what it says itself is "Invalid argument".

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::protocol::Identity;
use crate::{ExecOutcome, OutputChunk, Stream};

/// What the kernel calls an id that there is not.
const REFUSALS: &[&str] = &["Invalid argument", "Operation not permitted"];

/// What programs call having another owner, or becoming another user.
const ATTEMPTS: &[&str] = &[
    "chown",
    "change own",
    "setgroups",
    "setegid",
    "seteuid",
    "setuid",
    "setgid",
    "set groups",
    "set user",
    "set group",
];

/// How much of a line is looked at.
const LINE: usize = 4096;

/// Looks out for such an attempt in what a command says.
#[derive(Debug)]
pub(super) struct Alone {
    looks: bool,
    seen: AtomicBool,
    /// The line that each stream is in the middle of: a program may write one in pieces.
    begun: [Mutex<Vec<u8>>; 2],
}

impl Alone {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            looks: matches!(identity, Identity::Single { .. }),
            seen: AtomicBool::new(false),
            begun: Default::default(),
        }
    }

    pub(super) fn look(&self, chunk: &OutputChunk) {
        if !self.looks || self.seen.load(Ordering::Relaxed) {
            return;
        }
        let begun = &self.begun[usize::from(chunk.stream == Stream::Stderr)];
        let mut text = begun.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(&chunk.bytes);
        if text.split(|byte| *byte == b'\n').any(is_such) {
            self.seen.store(true, Ordering::Relaxed);
        }
        let line = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let kept = line.max(text.len().saturating_sub(LINE));
        text.drain(..kept);
    }

    /// Says it, of a command that failed.
    pub(super) fn explain(&self, outcome: &mut ExecOutcome) {
        if self.seen.load(Ordering::Relaxed) && outcome.status.code() != 0 {
            outcome.notes.push(
                "in this step there is no user but root: /etc/subuid and /etc/subgid give you no range of others, \
                 or newuidmap is not installed (`hm doctor` tells how to mend it)"
                    .into(),
            );
        }
    }
}

fn is_such(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    has(REFUSALS) && has(ATTEMPTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExitStatus;

    fn notes(identity: Identity, said: &str, code: i32) -> usize {
        let alone = Alone::new(identity);
        alone.look(&OutputChunk {
            stream: Stream::Stderr,
            bytes: said.to_owned().into(),
        });
        let mut outcome = ExecOutcome {
            status: ExitStatus::Code(code),
            killed: None,
            notes: Vec::new(),
        };
        alone.explain(&mut outcome);
        outcome.notes.len()
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let alone = Alone::new(Identity::Single { uid: 1000, gid: 1000 });
        let mut outcome = ExecOutcome {
            status: ExitStatus::Code(1),
            killed: None,
            notes: Vec::new(),
        };
        for (stream, piece) in [
            (Stream::Stderr, "chown: "),
            (Stream::Stdout, "a line between\n"),
            (Stream::Stderr, "changing ownership of 'x'"),
            (Stream::Stderr, ": Invalid argument"),
        ] {
            alone.look(&OutputChunk {
                stream,
                bytes: piece.into(),
            });
        }
        alone.explain(&mut outcome);
        assert_eq!(outcome.notes.len(), 1);
    }

    #[test]
    fn what_only_more_ids_would_mend_is_explained() {
        let alone = Identity::Single { uid: 1000, gid: 1000 };
        for said in [
            "chown: changing ownership of 'x': Invalid argument\n",
            "E: setgroups 65534 failed - setgroups (1: Operation not permitted)\n",
            "install: cannot change owner and permissions of '/var/cache/man': Invalid argument\n",
            "tar: x: Cannot change ownership to uid 33, gid 33: Invalid argument\n",
        ] {
            assert_eq!(notes(alone, said, 1), 1, "{said}");
            assert_eq!(notes(alone, said, 0), 0, "it passed: {said}");
            assert_eq!(notes(Identity::Range, said, 1), 0, "{said}");
        }
        for said in [
            "mount: permission denied\n",
            "sort: Invalid argument\n",
            "chown\nInvalid argument\n",
        ] {
            assert_eq!(notes(alone, said, 1), 0, "{said}");
        }
    }
}
