//! From text to validated steps and edges: [`json`] reads, [`wire`] says what is read, [`steps`], [`policy`],
//! [`needs`] and [`edges`] validate.

pub mod json;

mod checks;
mod edges;
mod needs;
mod policy;
mod steps;
mod wire;

pub use checks::dropped_variable;
pub use edges::Edge;
pub use needs::{MAX_NEEDS, MAX_PATTERNS};

use std::time::Duration;

use crate::{PlanError, Step};

/// The longest plan that is parsed, in bytes.
pub const MAX_PLAN_BYTES: usize = 64 << 20;
/// The most steps that a plan may have.
pub const MAX_STEPS: usize = 200_000;
/// The longest key of a step, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// The longest grace of a step: nobody waits longer for what was canceled.
pub const MAX_GRACE_SECONDS: u32 = 3600;
/// The most further attempts that a step may ask for.
pub const MAX_RETRIES: u32 = 10;

/// A plan whose every step and edge is valid by itself.
#[derive(Debug)]
pub struct ParsedPlan {
    pub default_image: Option<String>,
    pub timeout: Option<Duration>,
    pub steps: Vec<Step>,
    /// The positions of the steps in the order of their keys.
    pub by_key: Vec<u32>,
    pub edges: Vec<Edge>,
}

/// Reads a plan and validates what can be said of each step and each edge alone.
pub fn plan(text: &str) -> Result<ParsedPlan, PlanError> {
    let wire: wire::WirePlan = json::read(text, json::Document::Plan)?;
    json::check_version(wire.version.as_ref())?;
    if let Some(property) = wire
        .graph
        .edge_property
        .filter(|p| p.as_str() != Some("directed"))
    {
        return Err(PlanError::Undirected {
            found: json::shorten(&property),
        });
    }
    let nodes = wire.graph.nodes;
    if nodes.count == 0 {
        return Err(PlanError::Empty);
    }
    if nodes.count > MAX_STEPS {
        return Err(PlanError::TooManySteps {
            steps: nodes.count,
            limit: MAX_STEPS,
        });
    }
    let timeout = checks::timeout(wire.timeout_seconds, None)?;
    if let Some(image) = &wire.default_image {
        checks::check_image(image).map_err(|reason| PlanError::BadPlanField {
            field: "default_image",
            reason,
        })?;
    }
    let steps = nodes
        .kept
        .into_iter()
        .enumerate()
        .map(steps::step)
        .collect::<Result<Vec<Step>, _>>()?;
    let by_key = steps::sort_by_key(&steps)?;
    let numbering = edges::Numbering::new(steps.len(), &wire.graph.node_holes.unwrap_or_default())?;
    let edges = edges::edges(&wire.graph.edges, &numbering, &steps)?;
    Ok(ParsedPlan {
        default_image: wire.default_image,
        timeout,
        steps,
        by_key,
        edges,
    })
}
