//! Large plans, on the small stack of a test's thread.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;

use hm_pipeline_ir::{PipelineGraph, PlanError};

fn plan(steps: usize, edges: impl Iterator<Item = (usize, usize, &'static str)>) -> String {
    let mut text = String::from(r#"{"version":"0","graph":{"nodes":["#);
    for step in 0..steps {
        let comma = if step == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"step":{{"key":"s{step}","cmd":"true"}}}}"#).unwrap();
    }
    text.push_str(r#"],"edges":["#);
    let mut comma = "";
    for (from, to, kind) in edges {
        write!(text, r#"{comma}[{from},{to},"{kind}"]"#).unwrap();
        comma = ",";
    }
    text.push_str("]}}");
    text
}

const STEPS: usize = 100_000;

#[test]
fn a_chain_of_100_000() {
    let chain = || (1..STEPS).map(|to| (to - 1, to, "builds_in"));
    let graph = PipelineGraph::parse(&plan(STEPS, chain())).unwrap();
    assert_eq!((graph.len(), graph.chain_count()), (STEPS, 1));
    let (first, last) = (graph.topological()[0], graph.topological()[STEPS - 1]);
    assert_eq!(graph.descendants(first).len(), STEPS - 1);
    assert_eq!(graph.ancestors(last).len(), STEPS - 1);
    assert_eq!(graph.step(last).key.as_str(), "s99999");
}

#[test]
fn a_chain_the_other_way_round() {
    let backwards = (1..STEPS).map(|from| (from, from - 1, "builds_in"));
    let graph = PipelineGraph::parse(&plan(STEPS, backwards)).unwrap();
    assert_eq!(graph.topological()[0].as_usize(), STEPS - 1);
    assert_eq!(graph.chain_count(), 1);
}

#[test]
fn a_circle_of_100_000_is_told_in_few_words() {
    let circle = (0..STEPS).map(|from| (from, (from + 1) % STEPS, "depends_on"));
    let error = PipelineGraph::parse(&plan(STEPS, circle)).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("`s0` -> `s1` -> "), "{words}");
    assert!(
        words.contains("(99988 more) -> `s0`") && words.len() < 400,
        "{words}"
    );
    assert!(matches!(error, PlanError::Cycle { steps } if steps.len() == STEPS));
}

#[test]
fn a_million_edges() {
    let edges = (1_000..2_000).flat_map(|to| (0..1_000).map(move |from| (from, to, "depends_on")));
    let graph = PipelineGraph::parse(&plan(2_000, edges)).unwrap();
    let total: usize = graph
        .steps()
        .map(|(index, _)| graph.dependencies(index).len())
        .sum();
    assert_eq!(total, 1_000_000);
    let back: usize = graph
        .steps()
        .map(|(index, _)| graph.dependents(index).len())
        .sum();
    assert_eq!(back, 1_000_000);
}
