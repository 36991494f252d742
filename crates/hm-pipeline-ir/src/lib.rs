//! The plan as a typed DAG: the v0 IR, its validation and its cache keys. No I/O.
#![forbid(unsafe_code)]

/// Why a plan was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is not JSON, or not of the v0 form.
    #[error("the plan is not v0 IR JSON: {0}")]
    Syntax(String),
}

/// A validated plan.
#[derive(Debug, Clone)]
pub struct PipelineGraph {}

impl PipelineGraph {
    /// Parses and validates v0 IR JSON.
    ///
    /// # Errors
    /// What is wrong, naming the steps.
    pub fn parse(json: &str) -> Result<Self, PlanError> {
        Err(PlanError::Syntax(json.len().to_string()))
    }

    /// How many steps it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        0
    }

    /// Whether it has no step.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        true
    }

    /// How many chains it has.
    #[must_use]
    pub const fn chain_count(&self) -> usize {
        0
    }
}
