//! Counts of work done, for tests and for `--stats`: unlike times they do not vary.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a backend has done so far in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Supervisor processes started: 0 or 1.
    pub supervisors: u64,
    /// Machines made, from images and from snapshots.
    pub machines: u64,
    /// Commands run.
    pub commands: u64,
    /// Snapshots taken.
    pub snapshots: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub supervisors: AtomicU64,
    pub machines: AtomicU64,
    pub commands: AtomicU64,
    pub snapshots: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            supervisors: read(&self.supervisors),
            machines: read(&self.machines),
            commands: read(&self.commands),
            snapshots: read(&self.snapshots),
        }
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
