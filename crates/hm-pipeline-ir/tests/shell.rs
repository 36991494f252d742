//! The shell of a step and of a service: what is read, what is refused, and what it does to keys.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use hm_pipeline_ir::{Base, CacheKey, KeyInputs, PipelineGraph, PlanError, Service, Shell};
use serde_json::{Value, json};

fn parse(step: &Value) -> Result<PipelineGraph, PlanError> {
    let plan = json!({"version": "0", "graph": {"nodes": [{"step": step}], "edges": []}});
    PipelineGraph::parse(&plan.to_string())
}

fn key(step: &Value) -> CacheKey {
    let graph = parse(step).unwrap();
    let step = graph.step(graph.topological()[0]);
    let services: Vec<&Service> = step.services.iter().collect();
    let base = Base::Image {
        reference: "host",
        digest: "d1",
    };
    let none = BTreeMap::new();
    KeyInputs {
        step,
        base,
        run_env: &none,
        source: "tree",
        watched: None,
        services: &services,
        service_images: &BTreeMap::new(),
    }
    .cache_key()
    .key()
}

#[test]
fn shell_is_read_as_words() {
    let graph = parse(&json!({"key": "a", "cmd": "x", "shell": "bash  -eo pipefail "})).unwrap();
    let shell = graph.step(graph.topological()[0]).shell.clone().unwrap();
    assert_eq!(shell.as_str(), "bash -eo pipefail");
    assert_eq!(shell.words().collect::<Vec<_>>(), ["bash", "-eo", "pipefail"]);
    assert_eq!(shell.program(), "bash");
    let graph = parse(&json!({"key": "a", "cmd": "x"})).unwrap();
    assert_eq!(graph.step(graph.topological()[0]).shell, None);
}

#[test]
fn shell_that_is_no_program_with_options_is_refused() {
    for (shell, expected) in [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("-e", "no program"),
        ("A=1 sh", "no program"),
        ("sh -c", "option -c"),
        ("sh \"-e\"", "contains '\"'"),
        ("$SHELL -e", "contains '$'"),
        ("sh\t-e", "contains '\\t'"),
        (&"sh ".repeat(17), "16 words"),
        (&format!("/{}", "x".repeat(256)), "256 bytes"),
    ] {
        for step in [
            json!({"key": "a", "cmd": "x", "shell": shell}),
            json!({"key": "a", "cmd": "x", "services": [{"name": "db", "cmd": "x", "shell": shell}]}),
        ] {
            let words = parse(&step).unwrap_err().to_string();
            assert!(words.contains("`a`") && words.contains("`shell`"), "{words}");
            assert!(
                words.contains(expected),
                "{words:?} does not contain {expected:?}"
            );
        }
    }
}

#[test]
fn variable_that_the_shell_drops_is_refused_by_name() {
    for name in ["app.mode", "1ST", "a b", "npm-config", "ä"] {
        for (shell, passes) in [
            (json!(null), false),
            (json!("sh -e"), false),
            (json!("busybox sh -e"), false),
            (json!("bash -eo pipefail"), true),
            (json!("/usr/bin/bash"), true),
        ] {
            let env = json!({name: "1"});
            let step = parse(&json!({"key": "a", "cmd": "x", "env": env, "shell": shell}));
            let service = json!([{"name": "db", "cmd": "x", "env": env, "shell": shell}]);
            let service = parse(&json!({"key": "a", "cmd": "x", "services": service}));
            for parsed in [step, service] {
                assert_eq!(parsed.is_ok(), passes, "{name} {shell}");
                if let Err(error) = parsed {
                    let words = error.to_string();
                    assert!(
                        words.contains(&format!("{name:?}")) && words.contains("bash"),
                        "{words}"
                    );
                }
            }
        }
    }
    // An image's own command is started without a shell.
    let service = json!([{"name": "search", "image": "search:8", "env": {"discovery.type": "single-node"}}]);
    assert!(parse(&json!({"key": "a", "cmd": "x", "services": service})).is_ok());
}

#[test]
fn shell_is_in_the_key_only_where_the_plan_names_one() {
    // The key that this step had before plans could name shells.
    let plain = json!({"key": "a", "cmd": "make", "cache": {"policy": "auto"}});
    let pinned = key(&plain).to_string();
    assert_eq!(
        pinned,
        "5ce47fbd0d858d371c495f73faf72c51f69a3d7d36f55aa831cd0d9d080c44ef"
    );
    let with = |shell: &str| {
        let mut step = plain.clone();
        step["shell"] = json!(shell);
        key(&step)
    };
    assert_ne!(with("sh -e"), key(&plain));
    assert_ne!(with("sh -e"), with("sh -eu"));
    assert_eq!(with("sh  -e"), with("sh -e"));
    let service = |shell: Value| {
        key(&json!({"key": "a", "cmd": "make", "services": [{"name": "db", "cmd": "x", "shell": shell}]}))
    };
    assert_ne!(service(json!("sh -e")), service(json!(null)));
}

#[test]
fn shell_is_displayed_as_its_words() {
    assert_eq!(Shell::parse("sh -e").unwrap().to_string(), "sh -e");
}
