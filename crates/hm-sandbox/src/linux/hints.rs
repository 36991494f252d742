//! Why a command failed, where what it says itself leads astray: "Invalid argument" of a user that a step does not have,
//! "Invalid cross-device link" within one directory, "Device or resource busy" of a directory that nobody uses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::protocol::Identity;
use hm_fs::Marks;
use hm_vm::{CacheMount, ExecOutcome, OutputChunk, Stream};

/// How much of a line is looked at.
const LINE: usize = 4096;

/// What a line has to have in it: a word of each list.
#[derive(Debug)]
struct Hint {
    words: Vec<Vec<String>>,
    note: String,
    seen: AtomicBool,
}

/// Looks out for such lines in what a command says.
#[derive(Debug)]
pub(super) struct Hints {
    hints: Vec<Hint>,
    /// The line that each stream is in the middle of: a program may write one in pieces.
    begun: [Mutex<Vec<u8>>; 2],
}

impl Hints {
    pub(super) fn new(identity: Identity, marks: Marks, caches: &[CacheMount]) -> Self {
        let mut hints = Vec::new();
        if matches!(identity, Identity::Single { .. }) {
            hints.push(Hint::ids());
        }
        if marks == Marks::User {
            hints.push(Hint::rename());
        }
        hints.extend(caches.iter().filter_map(Hint::busy));
        Self {
            hints,
            begun: Default::default(),
        }
    }

    /// For a command that may, or may not, make user namespaces.
    pub(super) fn nested(mut self, nested: bool) -> Self {
        if !nested {
            self.hints.push(Hint::namespaces());
        }
        self
    }

    pub(super) fn look(&self, chunk: &OutputChunk) {
        if self.hints.iter().all(Hint::is_seen) {
            return;
        }
        let begun = &self.begun[usize::from(chunk.stream == Stream::Stderr)];
        let mut text = begun.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(&chunk.bytes);
        for line in text.split(|byte| *byte == b'\n') {
            self.hints.iter().for_each(|hint| hint.look(line));
        }
        let line = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let kept = line.max(text.len().saturating_sub(LINE));
        text.drain(..kept);
    }

    /// Says what was seen, of a command that failed.
    pub(super) fn explain(&self, outcome: &mut ExecOutcome) {
        if outcome.status.code() != 0 {
            let seen = self.hints.iter().filter(|hint| hint.is_seen());
            outcome.notes.extend(seen.map(|hint| hint.note.clone()));
        }
    }
}

impl Hint {
    fn new(words: &[&[&str]], note: impl Into<String>) -> Self {
        let owned = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            words: words.iter().map(owned).collect(),
            note: note.into(),
            seen: AtomicBool::new(false),
        }
    }

    /// Other users than root.
    fn ids() -> Self {
        // What the kernel calls an id that there is not, and what programs call having another owner or becoming
        // another user.
        let refusals = ["Invalid argument", "Operation not permitted"];
        let attempts = [
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
        Self::new(
            &[&refusals, &attempts],
            "in this step there is no user but root: /etc/subuid and /etc/subgid give you no range of others, or \
             newuidmap is not installed (`hm doctor` tells how to mend it)",
        )
    }

    /// A directory of a lower layer.
    fn rename() -> Self {
        Self::new(
            &[&[
                "Invalid cross-device link",
                "cross-device link not permitted",
                "EXDEV",
            ]],
            "without root, the kernel does not rename a directory that the source, the image or an earlier step brought: \
             `mv` copies it instead; as root it works (docs/limits.md)",
        )
    }

    /// A user namespace.
    fn namespaces() -> Self {
        // What unshare, bubblewrap, Bazel, Chromium and nsjail call it.
        let refusals = [
            "Operation not permitted",
            "No permissions to create",
            "No usable sandbox",
            "errno = 1",
            "EPERM",
        ];
        let attempts = [
            "unshare",
            "bwrap",
            "linux-sandbox",
            "new namespace",
            "user namespace",
            "userns",
            "CLONE_NEW",
            "No usable sandbox",
        ];
        Self::new(
            &[&refusals, &attempts],
            "a step makes no user namespaces unless `hm run --nested` or `[sandbox] nested = true` allows it \
             (docs/security.md says what that opens); or turn the program's own sandbox off",
        )
    }

    /// A cache directory.
    fn busy(cache: &CacheMount) -> Option<Self> {
        let name = cache.path.file_name()?.to_str()?;
        let refusals = ["Device or resource busy", "EBUSY", "resource busy or locked"];
        let note = format!(
            "{} is a cache directory, and with that a mount point: a step may empty it, but not remove or rename it. \
             Cache what the program downloads instead (`~/.npm` for `npm ci`)",
            cache.path.display()
        );
        Some(Self::new(&[&refusals, &[name]], note))
    }

    fn is_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    fn look(&self, line: &[u8]) {
        if self.is_seen() {
            return;
        }
        let line = String::from_utf8_lossy(line);
        let has = |words: &Vec<String>| words.iter().any(|word| line.contains(word));
        if self.words.iter().all(has) {
            self.seen.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hm_vm::ExitStatus;

    const SINGLE: Identity = Identity::Single { uid: 1000, gid: 1000 };

    fn outcome(code: i32) -> ExecOutcome {
        ExecOutcome {
            status: ExitStatus::Code(code),
            killed: None,
            notes: Vec::new(),
        }
    }

    fn notes_of(hints: &Hints, said: &str, code: i32) -> Vec<String> {
        hints.look(&OutputChunk {
            stream: Stream::Stderr,
            bytes: said.to_owned().into(),
        });
        let mut outcome = outcome(code);
        hints.explain(&mut outcome);
        outcome.notes
    }

    fn notes(identity: Identity, said: &str, code: i32) -> usize {
        notes_of(&Hints::new(identity, Marks::Trusted, &[]), said, code).len()
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let hints = Hints::new(SINGLE, Marks::Trusted, &[]);
        let mut outcome = outcome(1);
        for (stream, piece) in [
            (Stream::Stderr, "chown: "),
            (Stream::Stdout, "a line between\n"),
            (Stream::Stderr, "changing ownership of 'x'"),
            (Stream::Stderr, ": Invalid argument"),
        ] {
            hints.look(&OutputChunk {
                stream,
                bytes: piece.into(),
            });
        }
        hints.explain(&mut outcome);
        assert_eq!(outcome.notes.len(), 1);
    }

    #[test]
    fn what_only_more_ids_would_mend_is_explained() {
        for said in [
            "chown: changing ownership of 'x': Invalid argument\n",
            "E: setgroups 65534 failed - setgroups (1: Operation not permitted)\n",
            "install: cannot change owner and permissions of '/var/cache/man': Invalid argument\n",
            "tar: x: Cannot change ownership to uid 33, gid 33: Invalid argument\n",
        ] {
            assert_eq!(notes(SINGLE, said, 1), 1, "{said}");
            assert_eq!(notes(SINGLE, said, 0), 0, "it passed: {said}");
            assert_eq!(notes(Identity::Range, said, 1), 0, "{said}");
        }
        for said in [
            "mount: permission denied\n",
            "sort: Invalid argument\n",
            "chown\nInvalid argument\n",
        ] {
            assert_eq!(notes(SINGLE, said, 1), 0, "{said}");
        }
    }

    #[test]
    fn rename_without_root_is_explained() {
        for said in [
            "Invalid cross-device link at -e line 1.\n",
            "npm ERR! EXDEV: cross-device link not permitted, rename 'a' -> 'b'\n",
        ] {
            let user = Hints::new(Identity::Range, Marks::User, &[]);
            assert_eq!(notes_of(&user, said, 1).len(), 1, "{said}");
            assert_eq!(notes(Identity::Root, said, 1), 0, "{said}");
        }
    }

    #[test]
    fn refused_user_namespace_is_explained() {
        for said in [
            "unshare: unshare failed: Operation not permitted\n",
            "bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user \
             namespaces.\n",
            "bwrap: Creating new namespace failed: Operation not permitted\n",
            "[1:1:ERROR:zygote_host_impl_linux.cc(90)] No usable sandbox! Update your kernel\n",
            "Failed to move to new namespace: PID namespaces supported, but failed: errno = Operation not permitted\n",
            "src/main/tools/linux-sandbox.cc:152: \"clone\": Operation not permitted\n",
        ] {
            let hints = |nested| Hints::new(Identity::Root, Marks::Trusted, &[]).nested(nested);
            let noted = notes_of(&hints(false), said, 1);
            assert!(
                noted.len() == 1 && noted[0].contains("--nested"),
                "{said}: {noted:?}"
            );
            assert!(notes_of(&hints(false), said, 0).is_empty(), "it passed: {said}");
            assert!(notes_of(&hints(true), said, 1).is_empty(), "{said}");
        }
        let hints = Hints::new(Identity::Root, Marks::Trusted, &[]).nested(false);
        assert!(notes_of(&hints, "rm: cannot remove 'x': Operation not permitted\n", 1).is_empty());
    }

    #[test]
    fn removal_of_cache_directory_is_explained() {
        let caches = [CacheMount {
            name: "modules".into(),
            path: "/workspace/node_modules".into(),
            keep: hm_vm::CacheKeep::default(),
        }];
        let said = "npm error EBUSY: resource busy or locked, rmdir '/workspace/node_modules'\n";
        let hints = || Hints::new(Identity::Root, Marks::Trusted, &caches);
        let noted = notes_of(&hints(), said, 1);
        assert!(noted.len() == 1 && noted[0].contains("mount point"), "{noted:?}");
        assert!(notes_of(&hints(), "umount: /mnt: Device or resource busy\n", 1).is_empty());
        assert!(notes_of(&Hints::new(Identity::Root, Marks::Trusted, &[]), said, 1).is_empty());
    }
}
