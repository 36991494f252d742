//! What a run cost, counted: for `--stats` and the tests that hold "a cached run starts nothing".

use std::path::Path;

use hm_exec::{BuildOutcome, StepStatus};
use serde::Serialize;

use crate::fail::{Failure, Result};

/// The counters of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// Python interpreters started to render the pipeline.
    pub python_started: u64,
    /// Files copied from the worktree to freeze it.
    pub files_copied: u64,
    /// Machines made, from an image or from a snapshot.
    pub sandboxes_started: u64,
    /// Helper processes started for the machines.
    pub helpers_started: u64,
    /// Commands run in the machines.
    pub commands_run: u64,
    /// Snapshots taken of them.
    pub snapshots_taken: u64,
    /// Steps whose snapshot was there.
    pub cache_hits: u64,
    /// Steps that ran.
    pub steps_run: u64,
}

impl Stats {
    /// Counts a build's steps.
    pub fn count(&mut self, outcome: &BuildOutcome) {
        for step in &outcome.steps {
            match step.status {
                StepStatus::CacheHit => self.cache_hits += 1,
                StepStatus::Passed | StepStatus::Failed | StepStatus::TimedOut => self.steps_run += 1,
                StepStatus::Skipped | StepStatus::Canceled => {}
            }
        }
    }

    /// Writes the counters as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text =
            serde_json::to_string(self).map_err(|error| Failure::io("cannot write", path)(error.into()))?;
        std::fs::write(path, text + "\n").map_err(Failure::io("cannot write", path))
    }
}
