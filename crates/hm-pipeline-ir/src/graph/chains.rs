//! Chains: see [`crate::PipelineGraph`].

use super::adjacency::Adjacency;
use crate::StepIndex;

/// Which chain each step is in, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chains {
    of: Vec<usize>,
    places: Vec<usize>,
    count: usize,
}

impl Chains {
    /// There must be no circle among the parents.
    pub fn new(parents: &[Option<StepIndex>], children: &Adjacency) -> Self {
        let mut of = vec![0; parents.len()];
        let mut places = vec![0; parents.len()];
        let mut count = 0;
        for (position, parent) in parents.iter().enumerate() {
            let first = StepIndex::from_usize(position);
            let continues = |parent: &StepIndex| children.of(*parent).first() == Some(&first);
            if parent.as_ref().is_some_and(continues) {
                continue;
            }
            let mut next = Some(first);
            let mut place = 0;
            while let Some(step) = next {
                of[step.as_usize()] = count;
                places[step.as_usize()] = place;
                place += 1;
                next = children.of(step).first().copied();
            }
            count += 1;
        }
        Self { of, places, count }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The chain of a step.
    pub fn of(&self, step: StepIndex) -> usize {
        self.of[step.as_usize()]
    }

    /// Where a step stands in its chain, counted from 0.
    pub fn place(&self, step: StepIndex) -> usize {
        self.places[step.as_usize()]
    }
}
