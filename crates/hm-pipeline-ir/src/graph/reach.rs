//! What a step leads to.

use super::adjacency::Adjacency;
use crate::StepIndex;

/// All that can be reached from a step, without the step, in the plan's order.
pub fn reachable(from: StepIndex, neighbours: &Adjacency) -> Vec<StepIndex> {
    let mut seen = vec![false; neighbours.len()];
    let mut found = Vec::new();
    let mut open = vec![from];
    while let Some(step) = open.pop() {
        for next in neighbours.of(step) {
            if !std::mem::replace(&mut seen[next.as_usize()], true) {
                found.push(*next);
                open.push(*next);
            }
        }
    }
    found.sort_unstable();
    found
}
