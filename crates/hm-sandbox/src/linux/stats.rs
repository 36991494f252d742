//! What [`Stats`] are read from.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::surface::Stats;

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
