//! Random plans against naive answers, and input of any kind against a panic.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;

use hm_pipeline_ir::{Envelope, PipelineGraph, PlanError, StepIndex};
use proptest::prelude::*;
use serde_json::{Value, json};

/// From, to, and whether it is `builds_in`.
type Edge = (usize, usize, bool);
type Edges = Vec<Edge>;

fn text(steps: usize, edges: &Edges) -> String {
    let nodes: Vec<Value> = (0..steps)
        .map(|n| json!({"step": {"key": format!("s{n}"), "cmd": "x"}}))
        .collect();
    let edges: Vec<Value> = edges
        .iter()
        .map(|(from, to, builds_in)| json!([from, to, if *builds_in { "builds_in" } else { "depends_on" }]))
        .collect();
    json!({"version": "0", "graph": {"nodes": nodes, "edges": edges}}).to_string()
}

/// Any edges between different steps, with at most one `builds_in` into each.
fn any_edges() -> impl Strategy<Value = (usize, Edges)> {
    (2_usize..12).prop_flat_map(|steps| {
        let edge = (0..steps, 0..steps, any::<bool>());
        proptest::collection::vec(edge, 0..20).prop_map(move |edges| (steps, one_parent(edges)))
    })
}

/// The same, but along some order of the steps, so that there is no circle.
fn acyclic_edges() -> impl Strategy<Value = (usize, Edges)> {
    (any_edges(), any::<u64>()).prop_map(|((steps, edges), seed)| {
        let rank = |step: usize| (step as u64 + 1).wrapping_mul(seed | 1).rotate_left(17) ^ seed;
        let mut ranked: Vec<usize> = (0..steps).collect();
        ranked.sort_by_key(|step| (rank(*step), *step));
        let place = |step: usize| ranked.iter().position(|other| *other == step).unwrap();
        let turned = edges.into_iter().map(|(from, to, builds_in)| {
            if place(from) < place(to) {
                (from, to, builds_in)
            } else {
                (to, from, builds_in)
            }
        });
        (steps, one_parent(turned.collect()))
    })
}

fn one_parent(edges: Edges) -> Edges {
    let mut has_parent = BTreeSet::new();
    edges
        .into_iter()
        .filter(|(from, to, _)| from != to)
        .map(|(from, to, builds_in)| (from, to, builds_in && has_parent.insert(to)))
        .collect()
}

/// Which steps can be reached from which, by Warshall's algorithm.
fn closure(steps: usize, edges: &Edges) -> Vec<Vec<bool>> {
    let mut reach = vec![vec![false; steps]; steps];
    for (from, to, _) in edges {
        reach[*from][*to] = true;
    }
    for via in 0..steps {
        for from in 0..steps {
            for to in 0..steps {
                reach[from][to] |= reach[from][via] && reach[via][to];
            }
        }
    }
    reach
}

fn positions(indices: &[StepIndex]) -> Vec<usize> {
    indices.iter().map(|index| index.as_usize()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cycle_is_found_exactly_when_there_is_one((steps, edges) in any_edges()) {
        let reach = closure(steps, &edges);
        let cyclic = (0..steps).any(|step| reach[step][step]);
        match PipelineGraph::parse(&text(steps, &edges)) {
            Ok(_) => prop_assert!(!cyclic),
            Err(PlanError::Cycle { steps: circle }) => {
                prop_assert!(cyclic);
                let numbers: Vec<usize> = circle.iter().map(|key| key.as_str()[1..].parse().unwrap()).collect();
                prop_assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
                for (place, from) in numbers.iter().enumerate() {
                    let to = numbers[(place + 1) % numbers.len()];
                    prop_assert!(edges.iter().any(|edge| (edge.0, edge.1) == (*from, to)), "{from} -> {to}");
                }
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn neighbours_and_reach_are_the_naive_ones((steps, edges) in acyclic_edges()) {
        let graph = PipelineGraph::parse(&text(steps, &edges)).unwrap();
        let reach = closure(steps, &edges);
        for (index, step) in graph.steps() {
            let at = index.as_usize();
            prop_assert_eq!(graph.index_of(step.key.as_str()), Some(index));
            let set = |pick: &dyn Fn(&Edge) -> Option<usize>| {
                edges.iter().filter_map(pick).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
            };
            prop_assert_eq!(positions(graph.dependencies(index)), set(&|e| (e.1 == at).then_some(e.0)));
            prop_assert_eq!(positions(graph.dependents(index)), set(&|e| (e.0 == at).then_some(e.1)));
            prop_assert_eq!(positions(graph.children(index)), set(&|e| (e.0 == at && e.2).then_some(e.1)));
            let parent = edges.iter().find(|e| e.1 == at && e.2).map(|e| e.0);
            prop_assert_eq!(graph.parent(index).map(StepIndex::as_usize), parent);
            let below: Vec<usize> = (0..steps).filter(|to| reach[at][*to]).collect();
            let above: Vec<usize> = (0..steps).filter(|from| reach[*from][at]).collect();
            prop_assert_eq!(positions(&graph.descendants(index)), below);
            prop_assert_eq!(positions(&graph.ancestors(index)), above);
        }
    }

    #[test]
    fn the_order_takes_the_first_ready_step_of_the_plan((steps, edges) in acyclic_edges()) {
        let graph = PipelineGraph::parse(&text(steps, &edges)).unwrap();
        let mut left: BTreeSet<usize> = (0..steps).collect();
        let mut naive = Vec::new();
        while let Some(next) = left.iter().copied().find(|step| !edges.iter().any(|e| e.1 == *step && left.contains(&e.0))) {
            left.remove(&next);
            naive.push(next);
        }
        prop_assert_eq!(positions(graph.topological()), naive);
    }

    #[test]
    fn chains_partition_the_steps_into_maximal_lines((steps, edges) in acyclic_edges()) {
        let graph = PipelineGraph::parse(&text(steps, &edges)).unwrap();
        let mut heads = Vec::new();
        for (index, _) in graph.steps() {
            let chain = graph.chain_of(index);
            prop_assert!(chain < graph.chain_count());
            let continues = graph.parent(index).filter(|parent| graph.children(*parent)[0] == index);
            match continues {
                Some(parent) => prop_assert_eq!(graph.chain_of(parent), chain),
                None => heads.push(chain),
            }
            for sibling in graph.children(index).iter().skip(1) {
                prop_assert_ne!(graph.chain_of(*sibling), chain);
            }
        }
        // One head for each chain, numbered in the plan's order.
        prop_assert_eq!(heads, (0..graph.chain_count()).collect::<Vec<_>>());
    }

    /// Every step declares one service for its chain, by a name of its own.
    #[test]
    fn a_step_reaches_what_its_chain_declares_up_to_it((steps, edges) in acyclic_edges()) {
        let mut plan: Value = serde_json::from_str(&text(steps, &edges)).unwrap();
        for step in 0..steps {
            plan["graph"]["nodes"][step]["step"]["services"] =
                json!([{"name": format!("c{step}"), "cmd": "x", "scope": "chain"}, {"name": "own", "cmd": "x"}]);
        }
        let graph = PipelineGraph::parse(&plan.to_string()).unwrap();
        for (index, _) in graph.steps() {
            let mut line = vec![index];
            let above = |step: &StepIndex| {
                graph.parent(*step).filter(|parent| graph.chain_of(*parent) == graph.chain_of(*step))
            };
            while let Some(parent) = line.last().and_then(above) {
                line.push(parent);
            }
            line.reverse();
            let declared = graph.chain_services(index);
            prop_assert_eq!(declared.iter().map(|(step, _)| *step).collect::<Vec<_>>(), line.clone());
            let mut names: Vec<String> = line.iter().map(|step| format!("c{}", step.as_usize())).collect();
            names.push("own".to_owned());
            prop_assert_eq!(graph.services(index).iter().map(|service| service.name.clone()).collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn two_parents_are_refused((steps, edges) in acyclic_edges(), pick in any::<prop::sample::Index>()) {
        let built: Vec<usize> = edges.iter().filter(|e| e.2).map(|e| e.1).collect();
        prop_assume!(!built.is_empty());
        let child = built[pick.index(built.len())];
        let parent = edges.iter().find(|e| e.1 == child && e.2).unwrap().0;
        let other = (0..steps).find(|step| *step != child && *step != parent);
        prop_assume!(other.is_some());
        let mut edges = edges;
        edges.push((other.unwrap(), child, true));
        let refused = PipelineGraph::parse(&text(steps, &edges));
        prop_assert!(matches!(refused, Err(PlanError::TwoParents { .. })), "{:?}", refused.err());
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
        prop_assert!(PipelineGraph::parse(&text).is_err());
        prop_assert!(Envelope::parse(&text).is_err());
    }

    /// A valid plan with something in it replaced: whatever comes of it, errors have words.
    #[test]
    fn a_broken_plan_does_not_panic(
        (steps, edges) in acyclic_edges(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..8,
        patch in "[\\[\\]{}\",:0-9a-z\\-.e\\\\ ]{0,8}",
    ) {
        let text = text(steps, &edges);
        let from = at.index(text.len());
        let to = (from + length).min(text.len());
        let broken = format!("{}{patch}{}", &text[..from], &text[to..]);
        if let Err(error) = PipelineGraph::parse(&broken) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_field_of_any_json_does_not_panic(value in any_json(), field in 0_usize..FIELDS.len()) {
        let mut plan = json!({"version": "0", "graph": {"nodes": [{"step": {"key": "a", "cmd": "x"}, "env": {}}], "edges": []}});
        *plan.pointer_mut(FIELDS[field].0).unwrap() = {
            let mut object = plan.pointer(FIELDS[field].0).unwrap().clone();
            object[FIELDS[field].1] = value;
            object
        };
        if let Ok(graph) = PipelineGraph::parse(&plan.to_string()) {
            prop_assert_eq!(graph.topological().len(), graph.len());
        }
    }
}

const FIELDS: [(&str, &str); 19] = [
    ("", "version"),
    ("", "graph"),
    ("", "timeout_seconds"),
    ("/graph", "nodes"),
    ("/graph", "edges"),
    ("/graph", "node_holes"),
    ("/graph/nodes/0", "env"),
    ("/graph/nodes/0", "step"),
    ("/graph/nodes/0/step", "key"),
    ("/graph/nodes/0/step", "cache"),
    ("/graph/nodes/0/step", "limits"),
    ("/graph/nodes/0/step", "runner_args"),
    ("/graph/nodes/0/step", "retries"),
    ("/graph/nodes/0/step", "network"),
    ("/graph/nodes/0/step", "label"),
    ("/graph/nodes/0/step", "services"),
    ("/graph/nodes/0/step", "secrets"),
    ("/graph/nodes/0/step", "artifacts"),
    ("/graph/nodes/0/step", "caches"),
];

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("policy".to_owned()),
        Just("key".to_owned()),
        Just("cmd".to_owned()),
        Just("cpus".to_owned()),
        Just("nodes".to_owned()),
        Just("edges".to_owned()),
        Just("name".to_owned()),
        Just("path".to_owned()),
        Just("paths".to_owned()),
        Just("health".to_owned()),
        Just("env".to_owned()),
        "[a-z]{0,3}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        prop_oneof![
            Just("0"),
            Just("ttl"),
            Just("compose"),
            Just("auto"),
            Just("builds_in")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
