//! Plans that the PyPI package `harmont` 0.0.9 emits, as they are.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::Duration;

use hm_pipeline_ir::{CachePolicy, Envelope, PipelineGraph, StepIndex};

const EVERY_POLICY: &str = include_str!("fixtures/every_policy.json");
const RUST: &str = include_str!("fixtures/rust.json");
const BARRIER: &str = include_str!("fixtures/barrier.json");
const ENVELOPE: &str = include_str!("fixtures/envelope.json");

fn index(graph: &PipelineGraph, key: &str) -> StepIndex {
    graph.index_of(key).unwrap()
}

fn keys(graph: &PipelineGraph, indices: &[StepIndex]) -> Vec<String> {
    indices
        .iter()
        .map(|index| graph.step(*index).key.to_string())
        .collect()
}

#[test]
fn every_policy_of_the_package_is_read() {
    let graph = PipelineGraph::parse(EVERY_POLICY).unwrap();
    assert_eq!(graph.len(), 7);
    assert_eq!(graph.steps().len(), 7);
    let policies: Vec<&CachePolicy> = graph.steps().map(|(_, step)| &step.cache).collect();
    let text = |key: &str| Some(key.to_owned());
    let day = Duration::from_secs(86_400);
    assert_eq!(
        policies,
        [
            &CachePolicy::Ttl {
                duration: day,
                env_keys: vec![],
                key: text("03609d7cb34fbf5625a3926b9b1f1e019b3b815f807524d018f9a8e5fe2e56db"),
            },
            &CachePolicy::OnChange {
                paths: vec!["requirements.txt".into(), "src/".into()],
                key: text("c7b94c2aae3e9de139ab93511fd318c61a677341c66c6ed45929924546e7c29d"),
            },
            &CachePolicy::None,
            &CachePolicy::Compose {
                policies: vec![
                    CachePolicy::Ttl {
                        duration: day,
                        env_keys: vec![],
                        key: None
                    },
                    CachePolicy::OnChange {
                        paths: vec!["x".into()],
                        key: None
                    },
                ],
                key: text("b666ea811fb13af596fcae2421bb55b97159c2abbf57401eb3fbe06c83d732ae"),
            },
            &CachePolicy::Forever {
                env_keys: vec!["GOARCH".into()],
                key: text("ba974450a2732022b7372c3c0bfda767538365f77a0c6af82fe3e9d638497260"),
            },
            &CachePolicy::None,
            &CachePolicy::None,
        ]
    );
    assert_eq!(graph.default_image(), None);
    assert_eq!(graph.timeout(), None);
}

#[test]
fn fields_of_a_step_are_read() {
    let graph = PipelineGraph::parse(EVERY_POLICY).unwrap();
    let base = graph.step(index(&graph, "base"));
    assert_eq!(base.cmd, "apt-get update");
    assert_eq!(base.image.as_deref(), Some("ubuntu:24.04"));
    assert_eq!(base.display_name(), "base");
    let env: Vec<(&str, &str)> = base
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        env,
        [
            ("A", "1"),
            ("CI", "true"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("TERM", "dumb")
        ]
    );
    let test = graph.step(index(&graph, "tst"));
    assert_eq!(test.timeout, Some(Duration::from_secs(30)));
    assert_eq!(test.display_name(), "make test");
    let lint = graph.step(index(&graph, "b9560fa3a01e"));
    assert_eq!(lint.runner.as_deref(), Some("docker"));
    assert_eq!(lint.runner_args, Some(serde_json::json!({"a": 1})));
    assert_eq!(
        (lint.retries, lint.soft_fail, lint.git, lint.network),
        (0, false, false, None)
    );
}

#[test]
fn edges_become_parents_and_dependencies() {
    let graph = PipelineGraph::parse(EVERY_POLICY).unwrap();
    let deploy = index(&graph, "06aa532ecda5");
    let notify = index(&graph, "8b259f56de9c");
    assert_eq!(graph.parent(deploy), None);
    let before = ["base", "b79f26cd3bba", "tst", "b9560fa3a01e", "b438ca58927f"];
    assert_eq!(keys(&graph, graph.dependencies(deploy)), before);
    assert_eq!(keys(&graph, &graph.ancestors(deploy)), before);
    assert_eq!(graph.dependents(deploy), [notify]);
    assert_eq!(graph.children(deploy), []);
    let install = index(&graph, "b79f26cd3bba");
    assert_eq!(graph.parent(install), Some(index(&graph, "base")));
    assert_eq!(keys(&graph, graph.children(install)), ["tst", "b9560fa3a01e"]);
    assert_eq!(
        keys(&graph, &graph.descendants(install)),
        ["tst", "b9560fa3a01e", "06aa532ecda5", "8b259f56de9c"]
    );
    assert_eq!(graph.index_of("no such key"), None);
}

#[test]
fn the_first_child_continues_the_chain() {
    let graph = PipelineGraph::parse(EVERY_POLICY).unwrap();
    let chains: Vec<usize> = graph.steps().map(|(index, _)| graph.chain_of(index)).collect();
    assert_eq!(chains, [0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(graph.chain_count(), 5);
    let fan = PipelineGraph::parse(RUST).unwrap();
    let chains: Vec<usize> = fan.steps().map(|(index, _)| fan.chain_of(index)).collect();
    assert_eq!(chains, [0, 0, 1, 2]);
}

#[test]
fn a_barrier_is_dependencies_alone() {
    let graph = PipelineGraph::parse(BARRIER).unwrap();
    assert_eq!(graph.len(), 25);
    assert_eq!(graph.chain_count(), 25);
    let order: Vec<usize> = graph.topological().iter().map(|index| index.as_usize()).collect();
    assert_eq!(order, (0..25).collect::<Vec<_>>());
    let report = graph.topological()[24];
    assert_eq!(graph.step(report).cmd, "report");
    assert_eq!(graph.dependencies(report).len(), 12);
    assert_eq!(graph.ancestors(report).len(), 24);
}

#[test]
fn an_envelope_keeps_each_plan_byte_for_byte() {
    let envelope = Envelope::parse(ENVELOPE).unwrap();
    assert_eq!(envelope.pipelines.len(), 1);
    let ci = envelope.get("ci").unwrap();
    assert_eq!(
        (ci.slug.as_str(), ci.name.as_str(), ci.allow_manual),
        ("ci", "ci", true)
    );
    assert_eq!(
        ci.triggers,
        [serde_json::json!({"event": "push", "branches": ["main"]})]
    );
    assert!(ENVELOPE.contains(&ci.definition));
    assert!(
        ci.definition
            .starts_with(r#"{"version": "0", "graph": {"nodes": [{"step""#),
        "{}",
        ci.definition
    );
    assert_eq!(PipelineGraph::parse(&ci.definition).unwrap().len(), 2);
    assert_eq!(envelope.get("deploy"), None);

    let odd = r#"{"pipelines":[{"slug":"a","definition":  {"z" : 1.50, "a":"\u0041", "z":2}  }],"schema_version":"1"}"#;
    let entry = &Envelope::parse(odd).unwrap().pipelines[0];
    assert_eq!(entry.definition, r#"{"z" : 1.50, "a":"\u0041", "z":2}"#);
    assert_eq!(
        (entry.name.as_str(), entry.allow_manual, entry.triggers.len()),
        ("a", true, 0)
    );
}
