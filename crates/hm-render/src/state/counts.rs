use super::step::Phase;

/// How many steps there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Steps that wait.
    pub queued: usize,
    /// Steps that run.
    pub running: usize,
    /// Steps that exited with 0.
    pub passed: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that failed and may.
    pub soft_failed: usize,
    /// Steps that were stopped.
    pub canceled: usize,
    /// Steps that ran into a timeout.
    pub timed_out: usize,
    /// Steps whose snapshot was there.
    pub cached: usize,
    /// Steps that will not run.
    pub skipped: usize,
}

impl Counts {
    /// Every step that is known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.queued + self.running + self.over()
    }

    /// Steps that nothing more will come of.
    #[must_use]
    pub fn over(&self) -> usize {
        self.ran() + self.canceled + self.cached + self.skipped
    }

    /// Steps that ran to an end of their own, or to a timeout.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.passed + self.failed + self.soft_failed + self.timed_out
    }

    pub(super) fn of(&mut self, phase: Phase) -> &mut usize {
        match phase {
            Phase::Queued => &mut self.queued,
            Phase::Running => &mut self.running,
            Phase::Passed => &mut self.passed,
            Phase::Failed => &mut self.failed,
            Phase::SoftFailed => &mut self.soft_failed,
            Phase::Canceled => &mut self.canceled,
            Phase::TimedOut => &mut self.timed_out,
            Phase::CacheHit => &mut self.cached,
            Phase::Skipped => &mut self.skipped,
        }
    }
}
