//! Freezing real worktrees.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod basics;
mod concurrency;
mod random;
mod support;
