//! The same files give the same plans as with the PyPI package harmont 0.0.9, but for keys, for the shell, for the image where
//! the author names none, and for edges that follow from other edges. Its output is recorded in `fixtures`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hm_pipeline_ir::PipelineGraph;
use serde_json::{Value, json};

use crate::repo::Repo;

#[test]
fn branches_and_policies() {
    same_as_the_package("branches");
}

#[test]
fn barriers() {
    same_as_the_package("barriers");
}

#[test]
fn targets() {
    same_as_the_package("targets");
}

fn same_as_the_package(name: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let recorded = fs::read_to_string(fixtures.join(name).with_extension("json")).unwrap();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    let repo = Repo::new();
    repo.write(
        ".hm/ci.py",
        &fs::read_to_string(fixtures.join(name).with_extension("py")).unwrap(),
    );
    let ours = repo.render().unwrap().pipelines;
    let theirs = recorded["pipelines"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.slug, theirs["slug"]);
        assert_eq!(ours.name, theirs["name"]);
        assert_eq!(ours.allow_manual, theirs["allow_manual"]);
        assert_eq!(
            serde_json::from_str::<Value>(&ours.triggers_json).unwrap(),
            theirs["triggers"]
        );
        let plan: Value = serde_json::from_str(&ours.ir_json).unwrap();
        let graph = PipelineGraph::parse(&ours.ir_json).unwrap();
        assert_eq!(graph.steps().len(), nodes(&plan).len());
        let definition = &theirs["definition"];
        assert_eq!(plan["version"], definition["version"]);
        assert_eq!(plan["timeout_seconds"], definition["timeout_seconds"]);
        assert_eq!(nodes(&plan), nodes(definition), "{}", ours.slug);
        assert_eq!(chains(&plan), chains(definition), "{}", ours.slug);
        assert_eq!(order(&plan), order(definition), "{}", ours.slug);
    }
}

/// The nodes without what may differ.
fn nodes(plan: &Value) -> Vec<Value> {
    let mut nodes = plan["graph"]["nodes"].as_array().unwrap().clone();
    for node in &mut nodes {
        let step = node["step"].as_object_mut().unwrap();
        assert!(!step["key"].as_str().unwrap().is_empty());
        if step["key"] != "tst" {
            step.remove("key");
        }
        // The package has no word for it: its plans run by plain `sh`.
        if let Some(shell) = step.remove("shell") {
            assert_eq!(shell, "sh -e");
        }
        if step.get("image") == Some(&json!("ubuntu:24.04")) {
            step.remove("image");
        }
        if let Some(cache) = step.get_mut("cache") {
            assert_eq!(
                cache
                    .as_object_mut()
                    .unwrap()
                    .remove("key")
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .len(),
                64
            );
        }
    }
    nodes
}

fn edges(plan: &Value) -> impl Iterator<Item = (usize, usize, &str)> {
    let at = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let edges = plan["graph"]["edges"].as_array().unwrap();
    edges
        .iter()
        .map(move |edge| (at(&edge[0]), at(&edge[1]), edge[2].as_str().unwrap()))
}

fn chains(plan: &Value) -> BTreeSet<(usize, usize)> {
    edges(plan)
        .filter(|edge| edge.2 == "builds_in")
        .map(|(from, to, _)| (from, to))
        .collect()
}

/// Every pair of steps of which the first must end before the second begins.
fn order(plan: &Value) -> BTreeSet<(usize, usize)> {
    let mut pairs: BTreeSet<(usize, usize)> = edges(plan).map(|(from, to, _)| (from, to)).collect();
    loop {
        let further: Vec<_> = pairs
            .iter()
            .flat_map(|&(from, over)| {
                pairs
                    .range((over, 0)..(over + 1, 0))
                    .map(move |&(_, to)| (from, to))
            })
            .filter(|pair| !pairs.contains(pair))
            .collect();
        if further.is_empty() {
            return pairs;
        }
        pairs.extend(further);
    }
}
