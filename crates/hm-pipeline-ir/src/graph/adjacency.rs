//! Lists of neighbours, all in one allocation.

use crate::StepIndex;
use crate::parse::Edge;

/// For every step a list of steps, sorted and without duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjacency {
    /// Where each step's list begins in `targets`, and where the last one ends.
    starts: Vec<usize>,
    targets: Vec<StepIndex>,
}

impl Adjacency {
    /// For every step the ones that edges come from.
    pub fn incoming(steps: usize, edges: &[Edge]) -> Self {
        // Two passes of counting sort: going through all sources in order sorts each step's list.
        let by_source = Self::sorted_by(steps, || edges.iter().map(|edge| (edge.from, edge.to)));
        by_source.reversed().deduplicated()
    }

    /// For every step its parent.
    pub fn of_parents(parents: &[Option<StepIndex>]) -> Self {
        Self::sorted_by(parents.len(), || {
            parents
                .iter()
                .enumerate()
                .filter_map(|(child, parent)| parent.map(|parent| (StepIndex::from_usize(child), parent)))
        })
    }

    /// The same pairs the other way round. The lists come out sorted.
    pub fn reversed(&self) -> Self {
        Self::sorted_by(self.len(), || {
            (0..self.len()).flat_map(|position| {
                let step = StepIndex::from_usize(position);
                self.of(step).iter().map(move |target| (*target, step))
            })
        })
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// A step's list.
    pub fn of(&self, step: StepIndex) -> &[StepIndex] {
        &self.targets[self.starts[step.as_usize()]..self.starts[step.as_usize() + 1]]
    }

    fn sorted_by<I: Iterator<Item = (StepIndex, StepIndex)>>(steps: usize, pairs: impl Fn() -> I) -> Self {
        let mut starts = vec![0; steps + 1];
        for (step, _) in pairs() {
            starts[step.as_usize() + 1] += 1;
        }
        for position in 0..steps {
            starts[position + 1] += starts[position];
        }
        let mut next = starts.clone();
        let mut targets = vec![StepIndex(0); starts[steps]];
        for (step, target) in pairs() {
            let slot = &mut next[step.as_usize()];
            targets[*slot] = target;
            *slot += 1;
        }
        Self { starts, targets }
    }

    fn deduplicated(&self) -> Self {
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut targets: Vec<StepIndex> = Vec::with_capacity(self.targets.len());
        starts.push(0);
        for position in 0..self.len() {
            let begin = targets.len();
            for target in self.of(StepIndex::from_usize(position)) {
                if targets.len() == begin || targets.last() != Some(target) {
                    targets.push(*target);
                }
            }
            starts.push(targets.len());
        }
        Self { starts, targets }
    }
}
