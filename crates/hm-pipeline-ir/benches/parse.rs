//! How long it takes to parse, validate and key plans of 10,000 and 100,000 steps: `cargo bench -p hm-pipeline-ir`.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hm_pipeline_ir::{Base, CacheKey, KeyInputs, PipelineGraph};

const ROUNDS: usize = 7;

fn main() {
    println!(
        "{:<28} {:>10} {:>12} {:>12} {:>12}",
        "plan", "MB", "parse", "per step", "keys"
    );
    for steps in [10_000, 100_000] {
        report("chain", steps, &plan(steps, |to| vec![(to - 1, "builds_in")]));
        report("fan-out", steps, &plan(steps, |_| vec![(0, "builds_in")]));
    }
    // Each step waits for the last hundred of the thousand before its own: 900,000 edges.
    let barriers = |to: usize| {
        let start = to / 1_000 * 1_000;
        (start.saturating_sub(100)..start)
            .map(|from| (from, "depends_on"))
            .collect()
    };
    report("barriers, 900,000 edges", 10_000, &plan(10_000, barriers));
}

fn report(name: &str, steps: usize, text: &str) {
    let parse = median(|| {
        let graph = PipelineGraph::parse(text).map(|graph| graph.len());
        assert_eq!(graph, Ok(steps), "{name}");
    });
    let Ok(graph) = PipelineGraph::parse(text) else {
        return;
    };
    let keys = median(|| {
        std::hint::black_box(keys(&graph));
    });
    println!(
        "{:<28} {:>10.1} {:>12.2?} {:>12.2?} {:>12.2?}",
        format!("{name}, {steps} steps"),
        text.len() as f64 / 1e6,
        parse,
        parse / u32::try_from(steps).unwrap_or(u32::MAX),
        keys
    );
}

/// The identity of every step, as a scheduler computes it.
fn keys(graph: &PipelineGraph) -> Vec<Option<CacheKey>> {
    let run_env = BTreeMap::new();
    let mut identities = vec![None; graph.len()];
    for index in graph.topological() {
        let parent = graph
            .parent(*index)
            .and_then(|parent| identities[parent.as_usize()]);
        let base = parent.map_or(
            Base::Image {
                reference: "host",
                digest: "d",
            },
            Base::Parent,
        );
        let inputs = KeyInputs {
            step: graph.step(*index),
            base,
            run_env: &run_env,
            source: "tree",
            watched: None,
            services: &graph.services(*index),
            service_images: &BTreeMap::new(),
        };
        identities[index.as_usize()] = Some(inputs.cache_key().key());
    }
    identities
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn plan(steps: usize, edges_into: impl Fn(usize) -> Vec<(usize, &'static str)>) -> String {
    let mut text = String::from(r#"{"version":"0","graph":{"nodes":["#);
    for position in 0..steps {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"step":{{"key":"step-{position}","cmd":"make part-{position}","label":"part {position}","cache":{{"policy":"auto"}}}},"env":{{"DEBIAN_FRONTEND":"noninteractive","TERM":"dumb","CI":"true"}}}}"#
        );
    }
    text.push_str(r#"],"node_holes":[],"edge_property":"directed","edges":["#);
    let mut comma = "";
    for to in 1..steps {
        for (from, kind) in edges_into(to) {
            let _ = write!(text, r#"{comma}[{from},{to},"{kind}"]"#);
            comma = ",";
        }
    }
    text.push_str("]}}");
    text
}
