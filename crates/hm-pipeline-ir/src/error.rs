//! Why a plan was refused.

use std::fmt;

use crate::StepKey;

/// Why a plan was refused: what is wrong, with which step or edge, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is longer than [`crate::MAX_PLAN_BYTES`]. It was not parsed.
    #[error(
        "the plan is {bytes} bytes long, more than the {limit} that hm takes: split the pipeline, or have its steps read large data from files"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// It is not JSON.
    #[error("the plan is not JSON: {message} at line {line} column {column}")]
    Syntax {
        /// What the parser says.
        message: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is JSON, but something in it is missing or of the wrong type.
    #[error("the plan is not v0 IR: {message} in {}, at line {line} column {column}", place(path, step.as_deref()))]
    Shape {
        /// What is wrong.
        message: String,
        /// Where, such as `graph.nodes[3].step.cmd`.
        path: String,
        /// The key of the step that it is in.
        step: Option<String>,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Arrays or objects within one another, more than 127 deep.
    #[error(
        "the plan nests arrays or objects more than 127 deep, at line {line} column {column}: flatten its `runner_args` or `compose` policies"
    )]
    TooDeep {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It says no version, or one that is not known here.
    #[error("{}: this hm runs plans with \"version\": \"0\"; update hm, or the package that emitted the plan", version(found.as_deref()))]
    Version {
        /// The JSON value that stands there.
        found: Option<String>,
    },
    /// Its edges have no direction.
    #[error(
        "the plan's graph says \"edge_property\": {found}, but the order of steps needs \"directed\" edges"
    )]
    Undirected {
        /// The JSON value that stands there.
        found: String,
    },
    /// Its `node_holes` do not fit its nodes.
    #[error(
        "the plan's node_holes are wrong: {message}; leave the field out unless the graph was written by petgraph"
    )]
    Holes {
        /// What is wrong.
        message: String,
    },
    /// There is nothing to run.
    #[error("the plan has no step: give the pipeline at least one `sh`")]
    Empty,
    /// It has more than [`crate::MAX_STEPS`] steps.
    #[error("the plan has {steps} steps, more than the {limit} that hm takes: split the pipeline")]
    TooManySteps {
        /// How many it has.
        steps: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// A step's key cannot be a name.
    #[error(
        "step {position} of the plan (counted from 0) has the key {key:?}, which {reason}: give the step another key"
    )]
    BadKey {
        /// Where it stands in the plan.
        position: usize,
        /// The key, or its beginning.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two steps have one key.
    #[error(
        "two steps of the plan have the key `{key}`: steps {first} and {second} (counted from 0); give one of them another key"
    )]
    DuplicateKey {
        /// The key.
        key: StepKey,
        /// The first step that has it.
        first: usize,
        /// The next one.
        second: usize,
    },
    /// An edge leads from or to a node that is not there.
    #[error(
        "edge {position} of the plan (counted from 0) goes {}: node {missing} is not there, the plan's nodes are 0 to {last}",
        between(from, to)
    )]
    MissingNode {
        /// Where the edge stands in the plan.
        position: usize,
        /// The step it comes from, or the missing node's number.
        from: String,
        /// The step it goes to, or the missing node's number.
        to: String,
        /// The node that is not there.
        missing: u64,
        /// The largest number that a node has.
        last: u64,
    },
    /// An edge is neither `builds_in` nor `depends_on`.
    #[error(
        "the edge {} is of the kind {kind:?}, which this hm does not know: it is \"builds_in\" or \"depends_on\"",
        between(from, to)
    )]
    UnknownEdgeKind {
        /// The step it comes from.
        from: String,
        /// The step it goes to.
        to: String,
        /// What the plan says.
        kind: String,
    },
    /// A step waits for itself.
    #[error("step `{step}` waits for itself: remove that edge")]
    SelfEdge {
        /// The step.
        step: StepKey,
    },
    /// Steps wait for one another.
    #[error(
        "the plan's steps wait for one another in a circle: {}; remove one of these edges",
        circle(steps)
    )]
    Cycle {
        /// The steps in order; the last one leads to the first again.
        steps: Vec<StepKey>,
    },
    /// A step would have to start from two snapshots.
    #[error(
        "step `{step}` builds in both `{first}` and `{second}`, but can start from one snapshot only: let it depend on the other one"
    )]
    TwoParents {
        /// The step.
        step: StepKey,
        /// The parent that comes first in the plan.
        first: StepKey,
        /// Another one.
        second: StepKey,
    },
    /// A timeout of zero would end everything at once.
    #[error("{} has a timeout of 0 seconds: leave `timeout_seconds` out for no limit, or give it at least 1", holder(step.as_ref()))]
    ZeroTimeout {
        /// The step; `None` is the pipeline.
        step: Option<StepKey>,
    },
    /// A variable cannot be given to a process.
    #[error("step `{step}` has the environment variable {name:?}, {reason}")]
    BadEnv {
        /// The step.
        step: StepKey,
        /// The variable's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another field of a step has a value that cannot be.
    #[error("step `{step}` has a wrong `{field}`: {reason}")]
    BadField {
        /// The step.
        step: StepKey,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A field of the pipeline itself has a value that cannot be.
    #[error("the plan has a wrong `{field}`: {reason}")]
    BadPlanField {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A policy that is not known here.
    #[error(
        "step `{step}` has the cache policy {policy:?}, which this hm does not know: it is one of none, ttl, on_change, forever, compose, auto"
    )]
    UnknownPolicy {
        /// The step.
        step: StepKey,
        /// What the plan says.
        policy: String,
    },
    /// A policy whose snapshot could not be told from any other.
    #[error(
        "step `{step}` has the cache policy `{policy}` without a `key`, so hm cannot tell when its snapshot is out of date: let the package that emits the plan compute the key, or use the policy `auto`"
    )]
    PolicyWithoutKey {
        /// The step.
        step: StepKey,
        /// The policy.
        policy: &'static str,
    },
    /// A registry's envelope says no version, or one that is not known here.
    #[error("{}: this hm reads pipelines rendered with \"schema_version\": \"1\"; update hm, or the package that rendered them", schema_version(found.as_deref()))]
    SchemaVersion {
        /// The JSON value that stands there.
        found: Option<String>,
    },
    /// A registered pipeline cannot be called by its slug.
    #[error("the pipeline {slug:?} {reason}")]
    BadSlug {
        /// The slug.
        slug: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn place(path: &str, step: Option<&str>) -> String {
    match step {
        Some(step) => format!("`{path}` (step `{}`)", step.escape_debug()),
        None if path == "." => "the document".to_owned(),
        None => format!("`{path}`"),
    }
}

fn version(found: Option<&str>) -> String {
    found.map_or_else(
        || "the plan says no version".to_owned(),
        |found| format!("the plan has the version {found}"),
    )
}

fn schema_version(found: Option<&str>) -> String {
    found.map_or_else(
        || "the rendered pipelines say no schema_version".to_owned(),
        |found| format!("the rendered pipelines have the schema_version {found}"),
    )
}

fn between(from: &str, to: &str) -> String {
    format!("from {from} to {to}")
}

fn holder(step: Option<&StepKey>) -> String {
    step.map_or_else(|| "the pipeline".to_owned(), |step| format!("step `{step}`"))
}

/// How many steps of a circle are named; a person cannot use a thousand.
const CIRCLE_NAMES: usize = 12;

fn circle(steps: &[StepKey]) -> impl fmt::Display {
    let mut words: Vec<String> = steps
        .iter()
        .take(CIRCLE_NAMES)
        .map(|step| format!("`{step}`"))
        .collect();
    if steps.len() > CIRCLE_NAMES {
        words.push(format!("({} more)", steps.len() - CIRCLE_NAMES));
    }
    words.extend(steps.first().map(|step| format!("`{step}`")));
    words.join(" -> ")
}
