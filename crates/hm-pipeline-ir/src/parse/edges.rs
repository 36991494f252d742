//! What can be said of each edge alone.

use super::json;
use super::wire::{WireEdge, WireEdgeKind};
use crate::{PlanError, Step, StepIndex};

/// An edge between two steps that are there and differ.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub from: StepIndex,
    pub to: StepIndex,
    pub builds_in: bool,
}

/// From a node's number to its step. They differ where petgraph had removed nodes: the nodes are written
/// without gaps, the edges still have the old numbers, and `node_holes` are the numbers without a node.
#[derive(Debug)]
pub struct Numbering {
    nodes: u64,
    holes: Vec<u64>,
}

impl Numbering {
    pub fn new(steps: usize, holes: &[u64]) -> Result<Self, PlanError> {
        let nodes = (steps + holes.len()) as u64;
        let wrong = |message: String| PlanError::Holes { message };
        if let Some(pair) = holes.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(wrong(format!("{} does not come after {}", pair[1], pair[0])));
        }
        if let Some(hole) = holes.last().filter(|hole| **hole >= nodes) {
            return Err(wrong(format!(
                "{hole} is beyond the last node, {}",
                nodes.saturating_sub(1)
            )));
        }
        Ok(Self {
            nodes,
            holes: holes.to_vec(),
        })
    }

    fn step(&self, number: u64) -> Option<StepIndex> {
        if number >= self.nodes {
            return None;
        }
        match self.holes.binary_search(&number) {
            Ok(_) => None,
            Err(holes_before) => usize::try_from(number)
                .ok()
                .map(|number| StepIndex::from_usize(number - holes_before)),
        }
    }
}

pub fn edges(
    wire: &[Option<WireEdge>],
    numbering: &Numbering,
    steps: &[Step],
) -> Result<Vec<Edge>, PlanError> {
    let mut edges = Vec::with_capacity(wire.len());
    for (position, edge) in wire.iter().enumerate() {
        // What petgraph writes for an edge that was removed.
        let Some(WireEdge(from, to, kind)) = edge else {
            continue;
        };
        let name = |number: u64| {
            numbering.step(number).map_or_else(
                || format!("node {number}"),
                |step| format!("`{}`", steps[step.as_usize()].key),
            )
        };
        let ends = (numbering.step(*from), numbering.step(*to));
        let (Some(start), Some(end)) = ends else {
            return Err(PlanError::MissingNode {
                position,
                from: name(*from),
                to: name(*to),
                missing: if ends.0.is_none() { *from } else { *to },
                last: numbering.nodes.saturating_sub(1),
            });
        };
        let builds_in = match kind {
            WireEdgeKind::BuildsIn => true,
            WireEdgeKind::DependsOn => false,
            WireEdgeKind::Unknown(kind) => {
                return Err(PlanError::UnknownEdgeKind {
                    from: name(*from),
                    to: name(*to),
                    kind: json::cut(kind),
                });
            }
        };
        if start == end {
            return Err(PlanError::SelfEdge {
                step: steps[start.as_usize()].key.clone(),
            });
        }
        edges.push(Edge {
            from: start,
            to: end,
            builds_in,
        });
    }
    Ok(edges)
}
