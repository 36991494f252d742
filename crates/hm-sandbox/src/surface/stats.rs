//! Counts of work done, for tests and for `--stats`: unlike times they do not vary.

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
