//! Which steps of the plan a run is about.

use hm_pipeline_ir::{PipelineGraph, StepIndex};

use crate::{BackendError, Result, RunOptions};

/// What a step is to this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs unless it is cached.
    Wanted,
    /// It runs, cached or not.
    Forced,
    /// Only what others build in it for matters: its snapshot, or else running it.
    Ground,
    /// The run is not about it.
    Outside,
}

/// The steps' roles, by index, and why a step may be outside.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) roles: Vec<Role>,
    pub(super) outside: String,
}

impl Selection {
    /// Reads `--only` and `--from`.
    pub(super) fn new(graph: &PipelineGraph, options: &RunOptions) -> Result<Self> {
        let mut roles = vec![Role::Outside; graph.len()];
        let outside = match (&options.only, &options.from) {
            (None, None) => {
                roles.fill(Role::Wanted);
                String::new()
            }
            (Some(only), None) => {
                let step = find(graph, only, "--only")?;
                roles[step.as_usize()] = Role::Wanted;
                format!("only `{only}` was asked for")
            }
            (None, Some(from)) => {
                let step = find(graph, from, "--from")?;
                for later in graph.descendants(step) {
                    roles[later.as_usize()] = Role::Wanted;
                }
                roles[step.as_usize()] = Role::Forced;
                format!("it does not come after `{from}`")
            }
            (Some(_), Some(_)) => {
                return Err(BackendError::Rejected {
                    code: "conflicting_options".into(),
                    message: "--only and --from exclude each other: give one of them".into(),
                });
            }
        };
        // In reverse, so that a step knows whether anything that builds in it belongs to the run.
        for step in graph.topological().iter().rev() {
            let mut children = graph.children(*step).iter();
            if roles[step.as_usize()] == Role::Outside
                && children.any(|child| roles[child.as_usize()] != Role::Outside)
            {
                roles[step.as_usize()] = Role::Ground;
            }
        }
        Ok(Self { roles, outside })
    }
}

fn find(graph: &PipelineGraph, key: &str, flag: &str) -> Result<StepIndex> {
    graph.index_of(key).ok_or_else(|| {
        let known: Vec<&str> = graph
            .steps()
            .take(20)
            .map(|(_, step)| step.key.as_str())
            .collect();
        let more = if graph.len() > known.len() { ", ..." } else { "" };
        BackendError::NotFound(format!(
            "step `{key}` of {flag}: the plan has {}{more}",
            known.join(", ")
        ))
    })
}
