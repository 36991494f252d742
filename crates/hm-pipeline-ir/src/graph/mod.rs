//! The validated plan, indexed.

mod adjacency;
mod chains;
mod order;
mod reach;
mod services;

use std::time::Duration;

use adjacency::Adjacency;
use chains::Chains;
use services::ChainServices;

use crate::parse::{self, Edge};
use crate::{PlanError, Service, Step, StepIndex};

/// A validated plan.
///
/// A **chain** is a maximal line of `builds_in` edges. Where a step has several `builds_in` children, the
/// first of them in the plan's order continues its chain, and each other one starts a chain of its own. So
/// every step is in exactly one chain. Chains are numbered by the place of their first step in the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineGraph {
    default_image: Option<String>,
    timeout: Option<Duration>,
    steps: Vec<Step>,
    by_key: Vec<u32>,
    parents: Vec<Option<StepIndex>>,
    dependencies: Adjacency,
    dependents: Adjacency,
    children: Adjacency,
    chains: Chains,
    chain_services: ChainServices,
    topological: Vec<StepIndex>,
}

impl PipelineGraph {
    /// Parses and validates v0 IR JSON.
    ///
    /// # Errors
    /// What is wrong, naming the steps and edges.
    pub fn parse(json: &str) -> Result<Self, PlanError> {
        let plan = parse::plan(json)?;
        let parents = parents(&plan.steps, &plan.edges)?;
        let dependencies = Adjacency::incoming(plan.steps.len(), &plan.edges);
        let dependents = dependencies.reversed();
        let topological = order::topological(&plan.steps, &dependencies, &dependents)?;
        let children = Adjacency::of_parents(&parents).reversed();
        let chains = Chains::new(&parents, &children);
        let chain_services = ChainServices::new(&plan.steps, &topological, &chains)?;
        Ok(Self {
            default_image: plan.default_image,
            timeout: plan.timeout,
            steps: plan.steps,
            by_key: plan.by_key,
            parents,
            dependencies,
            dependents,
            children,
            chains,
            chain_services,
            topological,
        })
    }

    /// How many steps it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it has no step. A plan that was parsed has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many chains it has.
    #[must_use]
    pub const fn chain_count(&self) -> usize {
        self.chains.count()
    }

    /// The image of a step that has neither a `builds_in` parent nor an image of its own.
    #[must_use]
    pub fn default_image(&self) -> Option<&str> {
        self.default_image.as_deref()
    }

    /// The most that the whole build may take.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The steps in the plan's order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = (StepIndex, &Step)> {
        self.steps
            .iter()
            .enumerate()
            .map(|(position, step)| (StepIndex::from_usize(position), step))
    }

    /// A step.
    ///
    /// # Panics
    /// When the index comes from another, longer plan. This holds for every method that takes an index.
    #[must_use]
    pub fn step(&self, index: StepIndex) -> &Step {
        &self.steps[index.as_usize()]
    }

    /// The step that has this key.
    #[must_use]
    pub fn index_of(&self, key: &str) -> Option<StepIndex> {
        let found = self
            .by_key
            .binary_search_by(|position| self.steps[*position as usize].key.as_str().cmp(key));
        found.ok().map(|place| StepIndex(self.by_key[place]))
    }

    /// The step from whose snapshot this one starts.
    #[must_use]
    pub fn parent(&self, index: StepIndex) -> Option<StepIndex> {
        self.parents[index.as_usize()]
    }

    /// The steps that this one waits for, its parent among them; each once, in the plan's order.
    #[must_use]
    pub fn dependencies(&self, index: StepIndex) -> &[StepIndex] {
        self.dependencies.of(index)
    }

    /// The steps that wait for this one, its children among them; each once, in the plan's order.
    #[must_use]
    pub fn dependents(&self, index: StepIndex) -> &[StepIndex] {
        self.dependents.of(index)
    }

    /// The steps that start from this one's snapshot, in the plan's order.
    #[must_use]
    pub fn children(&self, index: StepIndex) -> &[StepIndex] {
        self.children.of(index)
    }

    /// Which chain the step is in, counted from 0.
    #[must_use]
    pub fn chain_of(&self, index: StepIndex) -> usize {
        self.chains.of(index)
    }

    /// The services of the step's chain that are declared at it or before it, in the chain's order, each with the step
    /// that declares it first: a step further on may declare the same one again.
    #[must_use]
    pub fn chain_services(&self, index: StepIndex) -> Vec<(StepIndex, &Service)> {
        let place = self.chains.place(index);
        self.chain_services
            .of(self.chain_of(index))
            .iter()
            .filter(|(step, _)| self.chains.place(*step) <= place)
            .map(|(step, position)| (*step, &self.step(*step).services[*position]))
            .collect()
    }

    /// All services that the step reaches: its chain's, then its own.
    #[must_use]
    pub fn services(&self, index: StepIndex) -> Vec<&Service> {
        let chain = self.chain_services(index).into_iter().map(|(_, service)| service);
        let own = self.step(index).services.iter();
        chain
            .chain(own.filter(|service| !services::of_chain(service)))
            .collect()
    }

    /// The steps in an order in which each comes after all that it waits for: at every point the one that
    /// is first in the plan among those that are ready.
    #[must_use]
    pub fn topological(&self) -> &[StepIndex] {
        &self.topological
    }

    /// All steps that wait for this one, directly or through others, in the plan's order.
    #[must_use]
    pub fn descendants(&self, index: StepIndex) -> Vec<StepIndex> {
        reach::reachable(index, &self.dependents)
    }

    /// All steps that this one waits for, directly or through others, in the plan's order.
    #[must_use]
    pub fn ancestors(&self, index: StepIndex) -> Vec<StepIndex> {
        reach::reachable(index, &self.dependencies)
    }
}

fn parents(steps: &[Step], edges: &[Edge]) -> Result<Vec<Option<StepIndex>>, PlanError> {
    let mut parents: Vec<Option<StepIndex>> = vec![None; steps.len()];
    for edge in edges.iter().filter(|edge| edge.builds_in) {
        let known = parents[edge.to.as_usize()].replace(edge.from);
        if let Some(known) = known.filter(|known| *known != edge.from) {
            let key = |index: StepIndex| steps[index.as_usize()].key.clone();
            return Err(PlanError::TwoParents {
                step: key(edge.to),
                first: key(known.min(edge.from)),
                second: key(known.max(edge.from)),
            });
        }
    }
    Ok(parents)
}
