//! Cache keys: what they depend on, and what they do not.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};

use hm_pipeline_ir::{Base, CacheKey, Component, KeyInputs, KeyParts, PipelineGraph, Service, Step};
use proptest::prelude::*;
use serde_json::{Value, json};

const HOST: Base<'static> = Base::Image {
    reference: "host",
    digest: "d1",
};

fn step(fields: Value) -> Step {
    let mut step = json!({"key": "a", "cmd": "make"});
    step.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let plan = json!({"version": "0", "graph": {"nodes": [{"step": step}], "edges": []}});
    let graph = PipelineGraph::parse(&plan.to_string()).unwrap();
    graph.step(graph.topological()[0]).clone()
}

fn auto(fields: Value) -> Step {
    let mut fields = fields;
    fields["cache"] = json!({"policy": "auto"});
    step(fields)
}

fn parts(step: &Step, base: Base<'_>, run_env: &[(&str, &str)], source: &str) -> KeyParts {
    let services: Vec<&Service> = step.services.iter().collect();
    parts_beside(step, base, run_env, source, &services, "s1")
}

/// With these services in reach, whose every image stands for one digest.
fn parts_beside(
    step: &Step,
    base: Base<'_>,
    run_env: &[(&str, &str)],
    source: &str,
    services: &[&Service],
    digest: &str,
) -> KeyParts {
    let images = services
        .iter()
        .map(|service| (service.image.clone(), digest.to_owned()));
    let run_env: BTreeMap<String, String> = run_env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    KeyInputs {
        step,
        base,
        run_env: &run_env,
        source,
        watched: None,
        services,
        service_images: &images.collect(),
    }
    .cache_key()
}

fn of(step: &Step) -> KeyParts {
    parts(step, HOST, &[], "tree")
}

#[test]
fn each_change_is_named() {
    let old = of(&auto(json!({})));
    let named = |new: &KeyParts| {
        assert_eq!(new.key() == old.key(), new.diff(&old).is_empty());
        new.diff(&old)
    };
    let plain = auto(json!({}));
    assert_eq!(named(&of(&plain)), Vec::<&str>::new());
    assert_eq!(named(&of(&auto(json!({"cmd": "make all"})))), ["command"]);
    assert_eq!(named(&of(&auto(json!({"env": {"A": ""}})))), ["environment"]);
    assert_eq!(
        named(&parts(&plain, HOST, &[("A", "1")], "tree")),
        ["environment"]
    );
    assert_eq!(named(&parts(&plain, HOST, &[], "other tree")), ["source"]);
    assert_eq!(named(&of(&auto(json!({"git": true})))), ["source"]);
    let newer = Base::Image {
        reference: "host",
        digest: "d2",
    };
    assert_eq!(named(&parts(&plain, newer, &[], "tree")), ["image"]);
    assert_eq!(
        named(&parts(&plain, Base::Parent(old.key()), &[], "tree")),
        ["parent", "image"]
    );
    assert_eq!(named(&of(&auto(json!({"runner": "docker"})))), ["runner"]);
    assert_eq!(named(&of(&auto(json!({"runner_args": {"a": 1}})))), ["runner"]);
    let forever = |key: &str| of(&step(json!({"cache": {"policy": "forever", "key": key}})));
    assert_eq!(named(&forever("k")), ["policy", "cache.key", "source"]);
    assert_eq!(forever("k").diff(&forever("l")), ["cache.key"]);
}

#[test]
fn what_a_step_needs_is_named() {
    let old = of(&auto(json!({})));
    let with = |field: &str, value: Value| of(&auto(json!({field: value})));
    let differ = |field: &'static str, values: &[Value]| {
        let parts: Vec<KeyParts> = values.iter().map(|value| with(field, json!([value]))).collect();
        for one in &parts {
            assert_eq!(one.diff(&old), [field]);
        }
        let keys: BTreeSet<CacheKey> = parts.iter().map(KeyParts::key).collect();
        assert_eq!(keys.len(), values.len(), "{field}");
        assert_eq!(with(field, json!([])), old);
    };
    differ(
        "services",
        &[
            json!({"name": "db", "cmd": "x"}),
            json!({"name": "dx", "cmd": "x"}),
            json!({"name": "db", "cmd": "y"}),
            json!({"name": "db", "image": "x"}),
            json!({"name": "db", "image": "x", "cmd": "x"}),
            json!({"name": "db", "cmd": "x", "env": {"A": "b"}}),
            json!({"name": "db", "cmd": "x", "scope": "chain"}),
            json!({"name": "db", "cmd": "x", "health": {"cmd": "x"}}),
        ],
    );
    differ(
        "secrets",
        &[
            json!({"name": "A"}),
            json!({"name": "A", "env": "B"}),
            json!({"name": "A", "file": "A"}),
            json!({"name": "B"}),
        ],
    );
    differ(
        "artifacts",
        &[
            json!({"paths": ["a"]}),
            json!({"paths": ["b"]}),
            json!({"paths": ["a", "b"]}),
            json!({"paths": ["a"], "when": "failed"}),
            json!({"paths": ["a"], "when": "passed"}),
        ],
    );
    differ(
        "caches",
        &[
            json!({"name": "a", "path": "b"}),
            json!({"name": "b", "path": "b"}),
            json!({"name": "a", "path": "c"}),
        ],
    );
    let health = |interval: f64| json!([{"name": "db", "cmd": "x", "health": {"cmd": "x", "interval_seconds": interval}}]);
    assert_eq!(with("services", health(0.2)), with("services", health(5.0)));
    let limited = json!([{"paths": ["a"], "max_bytes": 1}]);
    assert_eq!(
        with("artifacts", limited),
        with("artifacts", json!([{"paths": ["a"]}]))
    );
}

#[test]
fn a_service_counts_in_every_step_that_reaches_it_and_so_does_its_image() {
    let plain = auto(json!({}));
    let owner = auto(json!({"services": [{"name": "db", "image": "postgres:17", "scope": "chain"}]}));
    let services: Vec<&Service> = owner.services.iter().collect();
    let beside = |digest: &str| parts_beside(&plain, HOST, &[], "tree", &services, digest);
    assert_eq!(beside("s1").diff(&of(&plain)), ["services"]);
    assert_eq!(beside("s2").diff(&beside("s1")), ["services"]);
    assert_eq!(beside("s1"), of(&owner));
}

#[test]
fn what_says_whether_a_command_may_finish_is_not_in_the_key() {
    let fields = json!({
        "key": "renamed", "label": "x", "timeout_seconds": 5, "grace_seconds": 9, "retries": 3, "soft_fail": true,
        "network": "none", "limits": {"memory": 4096}, "image": "overridden by the base"
    });
    assert_eq!(of(&auto(fields)), of(&auto(json!({}))));
}

#[test]
fn only_auto_looks_at_the_source() {
    let depends = |policy: Value| {
        let step = step(json!({"cache": policy}));
        parts(&step, HOST, &[], "t1").key() != parts(&step, HOST, &[], "t2").key()
    };
    assert!(depends(json!({"policy": "auto"})));
    assert!(depends(json!({"policy": "compose", "key": "k", "sub_policies": [
        {"policy": "compose", "sub_policies": [{"policy": "auto"}]}, {"policy": "ttl", "duration_seconds": 1}]})));
    assert!(!depends(
        json!({"policy": "compose", "key": "k", "sub_policies": [{"policy": "forever"}]})
    ));
    assert!(!depends(
        json!({"policy": "ttl", "duration_seconds": 5, "key": "k"})
    ));
    assert!(!depends(
        json!({"policy": "on_change", "paths": ["x"], "key": "k"})
    ));
    assert!(!depends(json!({"policy": "none"})));
}

#[test]
fn a_composition_with_none_is_never_cached() {
    let cacheable = |policy: Value| step(json!({"cache": policy})).cache.is_cacheable();
    assert!(!cacheable(json!(null)));
    assert!(!cacheable(json!({"policy": "none"})));
    assert!(cacheable(json!({"policy": "auto"})));
    let nested = |leaf: &str| {
        json!({"policy": "compose", "key": "k", "sub_policies": [
            {"policy": "auto"}, {"policy": "compose", "sub_policies": [{"policy": leaf}]}]})
    };
    assert!(cacheable(nested("forever")));
    assert!(!cacheable(nested("none")));
}

#[test]
fn the_run_s_variables_are_over_the_plan_s() {
    let with = |value: &str| auto(json!({"env": {"A": value, "B": "2"}}));
    assert_eq!(
        parts(&with("1"), HOST, &[("A", "9")], "t"),
        parts(&with("9"), HOST, &[], "t")
    );
    assert_eq!(
        parts(&with("1"), HOST, &[("A", "1")], "t"),
        parts(&with("1"), HOST, &[], "t")
    );
}

#[test]
fn runner_args_are_folded_whichever_way_they_are_written() {
    let with = |text: &str| {
        of(&auto(
            json!({"runner_args": serde_json::from_str::<Value>(text).unwrap()}),
        ))
    };
    assert_eq!(
        with(r#"{"a": [1, {"x": 1, "y": 2}], "b": 2}"#),
        with(r#"{"b":2,"a":[1,{"y":2,"x":1}]}"#)
    );
    let all: BTreeSet<CacheKey> = [
        "[]",
        "{}",
        "\"\"",
        "null",
        "[[]]",
        "[1,2]",
        "[2,1]",
        "\"1\"",
        "1",
        "[\"1\",\"2\"]",
        "{\"a\":\"b\"}",
        "{\"a\":{\"b\":1}}",
    ]
    .into_iter()
    .filter(|text| *text != "null")
    .map(|text| with(text).key())
    .collect();
    assert_eq!(all.len(), 11);
}

#[test]
fn a_key_is_text_and_back() {
    let key = of(&auto(json!({}))).key();
    let text = key.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(text.parse(), Ok(key));
    assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{text}\""));
    for wrong in [
        "",
        "abc",
        &text.to_uppercase(),
        &format!("{text}0"),
        &"g".repeat(64),
        "../../../../etc/passwd",
    ] {
        assert!(wrong.parse::<CacheKey>().is_err(), "{wrong}");
        assert!(
            serde_json::from_str::<CacheKey>(&format!("\"{wrong}\"")).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn parts_are_json_and_back() {
    let parts = of(&step(json!({"cache": {"policy": "forever", "key": "k"}})));
    let text = serde_json::to_string(&parts).unwrap();
    let names: Vec<&str> = parts.iter().map(|(component, _)| component.name()).collect();
    assert_eq!(
        names,
        ["format", "image", "command", "environment", "policy", "cache.key"]
    );
    let object: BTreeMap<String, CacheKey> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        object.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        names.into_iter().collect()
    );
    let back: KeyParts = serde_json::from_str(&text).unwrap();
    assert_eq!((back.key(), &back), (parts.key(), &parts));
    for component in Component::ALL {
        assert_eq!(
            serde_json::to_string(&component).unwrap(),
            format!("\"{component}\"")
        );
    }
}

/// Snapshots outlive the hm that made them. If this fails, raise `keys::FORMAT_VERSION`.
#[test]
fn the_scheme_stays_as_it_is() {
    let step = auto(json!({"env": {"A": "1"}, "runner": "docker", "runner_args": {"a": [1, "x", null]}}));
    let pinned = "6849ed95ad4b6dc92ec6f1038f0aae18792dc5180bf89b63b50444ff1a5b99b5";
    assert_eq!(of(&step).key().to_string(), pinned);
    let needs = auto(json!({
        "services": [{"name": "db", "image": "postgres:17", "env": {"A": "1"}, "health": {"cmd": "pg_isready"}}],
        "secrets": [{"name": "A"}, {"name": "A", "file": "a"}],
        "artifacts": [{"paths": ["a", "b/**"], "when": "failed"}],
        "caches": [{"name": "cargo", "path": "~/.cargo/registry"}]
    }));
    let pinned = "3b337d0075bb97c6bf9a5fcca2d3f5ad8de4f14ae242fe206166b082999ad881";
    assert_eq!(of(&needs).key().to_string(), pinned);
}

/// The scheme as the documentation of `keys` gives it, written a second time.
#[test]
fn the_scheme_is_the_documented_one() {
    fn digest(fields: &[&[u8]]) -> [u8; 32] {
        let mut bytes = Vec::new();
        for field in fields {
            bytes.extend((field.len() as u64).to_le_bytes());
            bytes.extend(*field);
        }
        *blake3::hash(&bytes).as_bytes()
    }
    let number = |n: u64| n.to_le_bytes();
    let step = auto(json!({"env": {"A": "1"}}));
    let components: [(&str, [u8; 32]); 6] = [
        ("format", digest(&[b"hm cache key format", &number(1)])),
        ("image", digest(&[b"hm cache key image", b"host", b"d1"])),
        ("command", digest(&[b"hm cache key command", b"make"])),
        (
            "environment",
            digest(&[b"hm cache key environment", &number(1), b"A", b"1"]),
        ),
        ("policy", digest(&[b"hm cache key policy", b"auto"])),
        ("source", digest(&[b"hm cache key source", &[1], b"tree", &[0]])),
    ];
    let count = number(components.len() as u64);
    let mut fields: Vec<&[u8]> = vec![b"hm cache key", &count];
    for (name, digest) in &components {
        fields.push(name.as_bytes());
        fields.push(digest);
    }
    assert_eq!(of(&step).key().as_bytes(), &digest(&fields));
}

/// All that a key is made of, with fields drawn from few values so that equal ones do come up.
type Inputs = (
    String,
    BTreeMap<String, String>,
    BTreeMap<String, String>,
    Option<String>,
    Option<(String, String)>,
    String,
);

fn inputs() -> impl Strategy<Value = Inputs> {
    let text = || "[ab=]{0,2}";
    let env = || proptest::collection::btree_map("[ab]{1,2}", "[ab=]{0,2}", 0..3);
    let runner = proptest::option::of(text());
    let image = proptest::option::of((text(), text()));
    (text(), env(), env(), runner, image, text())
}

fn key_of(inputs: &Inputs) -> CacheKey {
    let (cmd, env, run_env, runner, image, source) = inputs;
    let step = auto(json!({"cmd": cmd, "env": env, "runner": runner}));
    let base = match image {
        Some((reference, digest)) => Base::Image { reference, digest },
        None => Base::Parent("0".repeat(64).parse().unwrap()),
    };
    KeyInputs {
        step: &step,
        base,
        run_env,
        source,
        watched: None,
        services: &[],
        service_images: &BTreeMap::new(),
    }
    .cache_key()
    .key()
}

/// The inputs without what must not matter: only the merged environment does.
fn canonical(inputs: &Inputs) -> Inputs {
    let mut inputs = inputs.clone();
    let run_env = std::mem::take(&mut inputs.2);
    inputs.1.extend(run_env);
    inputs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_equal_exactly_when_the_inputs_are(one in inputs(), other in inputs()) {
        prop_assert_eq!(key_of(&one) == key_of(&other), canonical(&one) == canonical(&other));
        prop_assert_eq!(key_of(&one), key_of(&canonical(&one)));
    }

    /// Moving characters from one field to its neighbour never keeps the key.
    #[test]
    fn fields_do_not_run_into_one_another(text in "[ab=]{2,6}", one in 0_usize..6, other in 0_usize..6) {
        let (one, other) = (one.min(text.len()), other.min(text.len()));
        let split = |at: usize| {
            let base = Base::Image { reference: &text[..at], digest: &text[at..] };
            let env = auto(json!({"env": {format!("x{}", text[..at].replace('=', "c")): text[at..].replace('=', "c")}}));
            (parts(&auto(json!({})), base, &[], "t").key(), of(&env).key())
        };
        prop_assert_eq!(split(one).0 == split(other).0, one == other);
        prop_assert_eq!(split(one).1 == split(other).1, one == other);
    }
}
