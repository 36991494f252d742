//! Cache keys of what steps need: equal exactly when the needs are.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use hm_pipeline_ir::{Base, CacheKey, KeyInputs, PipelineGraph, Service, Step};
use proptest::prelude::*;
use serde_json::{Value, json};

fn step(needs: &Value) -> Step {
    let mut step = json!({"key": "a", "cmd": "x"});
    step.as_object_mut()
        .unwrap()
        .extend(needs.as_object().unwrap().clone());
    let plan = json!({"version": "0", "graph": {"nodes": [{"step": step}], "edges": []}});
    let graph = PipelineGraph::parse(&plan.to_string()).unwrap();
    graph.step(graph.topological()[0]).clone()
}

fn key(step: &Step, images: &BTreeMap<Option<String>, String>) -> CacheKey {
    let services: Vec<&Service> = step.services.iter().collect();
    KeyInputs {
        step,
        base: Base::Image {
            reference: "host",
            digest: "d1",
        },
        run_env: &BTreeMap::new(),
        source: "tree",
        watched: None,
        services: &services,
        service_images: images,
    }
    .cache_key()
    .key()
}

/// All fields drawn from few values, so that equal ones do come up, and that what one loses its neighbour may win.
fn needs() -> impl Strategy<Value = Value> {
    let word = || "[ab]{1,2}";
    let maybe = || proptest::option::of(word());
    let env = proptest::collection::btree_map(word(), "[ab]{0,2}", 0..2);
    let service = (word(), maybe(), word(), env, any::<bool>(), maybe(), 1_u64..3).prop_map(
        |(name, image, cmd, env, chain, health, interval)| {
            let health = health.map(|cmd| json!({"cmd": cmd, "interval_seconds": interval}));
            let scope = if chain { "chain" } else { "step" };
            json!({"name": name, "image": image, "cmd": cmd, "env": env, "scope": scope, "health": health})
        },
    );
    let secret = (word(), maybe(), any::<bool>()).prop_map(|(name, place, file)| match (place, file) {
        (Some(place), true) => json!({"name": name, "file": place}),
        (place, _) => json!({"name": name, "env": place}),
    });
    let when = prop_oneof![Just("always"), Just("passed"), Just("failed")];
    let artifacts = (proptest::collection::vec(word(), 1..3), when, 1_u64..3)
        .prop_map(|(paths, when, max_bytes)| json!({"paths": paths, "when": when, "max_bytes": max_bytes}));
    let cache = (word(), word()).prop_map(|(name, path)| json!({"name": name, "path": path}));
    let list = |one: BoxedStrategy<Value>| proptest::collection::vec(one, 0..2);
    (
        list(service.boxed()),
        list(secret.boxed()),
        list(artifacts.boxed()),
        list(cache.boxed()),
    )
        .prop_map(|(services, secrets, artifacts, caches)| {
            json!({"services": services, "secrets": secrets, "artifacts": artifacts, "caches": caches})
        })
}

/// The step without what must not matter.
fn canonical(mut step: Step) -> Step {
    for health in step
        .services
        .iter_mut()
        .filter_map(|service| service.health.as_mut())
    {
        health.interval = health.timeout;
    }
    for artifacts in &mut step.artifacts {
        artifacts.max_bytes = None;
    }
    step
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_equal_exactly_when_the_needs_are(one in needs(), other in needs(), field in 0_usize..5) {
        // Two that differ in one field at most are equal often enough.
        let mut near = one.clone();
        if let Some(name) = ["services", "secrets", "artifacts", "caches"].get(field) {
            near[*name] = other[*name].clone();
        }
        let images = BTreeMap::new();
        let one = step(&one);
        for other in [step(&other), step(&near)] {
            let same = canonical(one.clone()) == canonical(other.clone());
            prop_assert_eq!(key(&one, &images) == key(&other, &images), same);
        }
    }

    #[test]
    fn a_service_s_image_counts_by_what_it_stands_for(needs in needs(), digest in "[ab]{1,2}", other in "[ab]{1,2}") {
        let step = step(&needs);
        let stand_for = |digest: &str| {
            step.services.iter().map(|service| (service.image.clone(), digest.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let same = digest == other || step.services.is_empty();
        prop_assert_eq!(key(&step, &stand_for(&digest)) == key(&step, &stand_for(&other)), same);
    }
}
