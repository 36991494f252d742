//! The order of steps, and what keeps there from being one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::adjacency::Adjacency;
use crate::{PlanError, Step, StepIndex};

/// Every step after all that it waits for; among those that are ready, the first in the plan comes first.
pub fn topological(
    steps: &[Step],
    dependencies: &Adjacency,
    dependents: &Adjacency,
) -> Result<Vec<StepIndex>, PlanError> {
    let all = || (0..steps.len()).map(StepIndex::from_usize);
    let mut waiting: Vec<usize> = all().map(|step| dependencies.of(step).len()).collect();
    let mut ready: BinaryHeap<Reverse<StepIndex>> = all()
        .filter(|step| waiting[step.as_usize()] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(Reverse(step)) = ready.pop() {
        order.push(step);
        for dependent in dependents.of(step) {
            let left = &mut waiting[dependent.as_usize()];
            *left -= 1;
            if *left == 0 {
                ready.push(Reverse(*dependent));
            }
        }
    }
    if order.len() == steps.len() {
        return Ok(order);
    }
    let circle = cycle(&waiting, dependencies);
    Err(PlanError::Cycle {
        steps: circle
            .into_iter()
            .map(|step| steps[step.as_usize()].key.clone())
            .collect(),
    })
}

/// A circle among the steps that still wait. Each of them waits for another such step, so going backwards
/// must come to a step a second time.
fn cycle(waiting: &[usize], dependencies: &Adjacency) -> Vec<StepIndex> {
    let stuck = |step: StepIndex| waiting[step.as_usize()] > 0;
    let mut seen_at: Vec<Option<usize>> = vec![None; waiting.len()];
    let mut path: Vec<StepIndex> = Vec::new();
    let mut next = (0..waiting.len())
        .map(StepIndex::from_usize)
        .find(|step| stuck(*step));
    while let Some(step) = next {
        if let Some(begin) = seen_at[step.as_usize()] {
            let mut circle = path.split_off(begin);
            circle.reverse();
            let first = circle
                .iter()
                .enumerate()
                .min_by_key(|(_, step)| **step)
                .map_or(0, |(place, _)| place);
            circle.rotate_left(first);
            return circle;
        }
        seen_at[step.as_usize()] = Some(path.len());
        path.push(step);
        next = dependencies
            .of(step)
            .iter()
            .copied()
            .find(|dependency| stuck(*dependency));
    }
    path
}
