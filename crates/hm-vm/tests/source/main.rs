//! Freezing real worktrees.
#![cfg(unix)]

mod basics;
mod concurrency;
mod random;
mod support;
