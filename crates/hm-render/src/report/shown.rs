use std::collections::HashMap;

use uuid::Uuid;

use crate::state::Step;

/// How many lines may stand between a step's output and a report that refers to it.
const NEAR: u64 = 30;

/// Whose output was shown as it came, and how long ago.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    lines: u64,
    ended: HashMap<Uuid, u64>,
}

impl Shown {
    /// A line of some step's output was shown.
    pub(crate) fn line(&mut self) {
        self.lines += 1;
    }

    /// A step has ended, all of whose output was shown.
    pub(crate) fn ended(&mut self, step: &Step) {
        self.ended.insert(step.step_id, self.lines);
    }

    /// Whether a reader has just seen the step's output.
    pub(crate) fn just_now(&self, step: &Step) -> bool {
        self.ended
            .get(&step.step_id)
            .is_some_and(|at| self.lines - at <= NEAR)
    }
}
