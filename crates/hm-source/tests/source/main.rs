//! Freezing real worktrees.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod basics;
mod changing;
mod concurrency;
mod dotgit;
mod oracle;
mod random;
mod support;
