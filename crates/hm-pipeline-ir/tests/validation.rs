//! What is refused, and in which words.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use hm_pipeline_ir::{Envelope, MAX_PLAN_BYTES, MAX_STEPS, PipelineGraph, PlanError};
use serde_json::{Value, json};

fn refusal(plan: &str) -> PlanError {
    PipelineGraph::parse(plan).unwrap_err()
}

fn words(plan: &Value) -> String {
    refusal(&plan.to_string()).to_string()
}

fn node(key: &str) -> Value {
    json!({"step": {"key": key, "cmd": "true"}, "env": {}})
}

/// A plan of steps that are called `a`, `b`, `c`, ...
fn plan(steps: u8, edges: &Value) -> Value {
    let nodes: Vec<Value> = (0..steps)
        .map(|n| node(&char::from(b'a' + n).to_string()))
        .collect();
    json!({"version": "0", "graph": {"nodes": nodes, "edge_property": "directed", "edges": edges}})
}

/// A plan of one step `a` with one more field.
fn with(field: &str, value: Value) -> Value {
    let mut plan = plan(1, &json!([]));
    plan["graph"]["nodes"][0]["step"][field] = value;
    plan
}

fn has(words: &str, expected: &[&str]) {
    for part in expected {
        assert!(words.contains(part), "{words:?} does not contain {part:?}");
    }
}

#[test]
fn text_that_is_not_json() {
    assert_eq!(
        refusal("{\"version\": \"0\",\n oops}"),
        PlanError::Syntax {
            message: "key must be a string".into(),
            line: 2,
            column: 2
        }
    );
    assert!(matches!(refusal(""), PlanError::Syntax { line: 1, .. }));
    assert!(matches!(
        refusal("{\"version\":\"0\",\"graph\":{\"nodes\":["),
        PlanError::Syntax { .. }
    ));
    let twice = plan(1, &json!([])).to_string().repeat(2);
    has(&refusal(&twice).to_string(), &["not JSON", "trailing characters"]);
}

#[test]
fn json_of_another_shape_is_told_with_path_and_step() {
    let mut plan = plan(3, &json!([]));
    plan["graph"]["nodes"][1]["env"] = json!({"PORT": 80});
    has(
        &words(&plan),
        &[
            "`graph.nodes[1].env.PORT` (step `b`)",
            "integer `80`",
            "expected a string",
            "line 1",
        ],
    );
    has(
        &words(&with("cmd", json!(null))),
        &["graph.nodes[0].step.cmd", "step `a`"],
    );
    has(
        &words(&with("timeout_seconds", json!(-1))),
        &["timeout_seconds", "-1"],
    );
    has(&words(&json!({"version": "0"})), &["missing field `graph`"]);
    has(
        &words(&json!({"version": "0", "graph": {"edges": []}})),
        &["missing field `nodes`", "`graph`"],
    );
    let mut keyless = plan.clone();
    keyless["graph"]["nodes"][1] = json!({"step": {"cmd": "x"}});
    has(&words(&keyless), &["missing field `key`", "graph.nodes[1].step"]);
    has(
        &words(&json!({"version": "0", "graph": {"nodes": {}, "edges": []}})),
        &["an array of nodes"],
    );
    has(&refusal("7").to_string(), &["expected a plan"]);
    let long = words(&with("retries", json!("x".repeat(5_000))));
    assert!(long.len() < 600, "{}", long.len());
}

#[test]
fn versions() {
    let mut plan = plan(1, &json!([]));
    plan["version"] = json!("1");
    has(&words(&plan), &["has the version \"1\"", "\"version\": \"0\""]);
    plan["version"] = json!(0);
    assert_eq!(
        refusal(&plan.to_string()),
        PlanError::Version {
            found: Some("0".into())
        }
    );
    plan.as_object_mut().unwrap().remove("version");
    assert_eq!(refusal(&plan.to_string()), PlanError::Version { found: None });
    // The version is told before anything about a shape that only another version knows.
    let future = r#"{"version": "2", "steps": []}"#;
    assert_eq!(
        refusal(future),
        PlanError::Version {
            found: Some("\"2\"".into())
        }
    );
}

#[test]
fn sizes() {
    assert_eq!(refusal(&plan(0, &json!([])).to_string()), PlanError::Empty);
    let long = " ".repeat(100 << 20);
    assert_eq!(
        refusal(&long),
        PlanError::TooLarge {
            bytes: 100 << 20,
            limit: MAX_PLAN_BYTES
        }
    );
    assert!(matches!(Envelope::parse(&long), Err(PlanError::TooLarge { .. })));
    let node = r#"{"step":{"key":"","cmd":""}}"#;
    let nodes = vec![node; MAX_STEPS + 1].join(",");
    let many = format!(r#"{{"version":"0","graph":{{"nodes":[{nodes}],"edges":[]}}}}"#);
    assert_eq!(
        refusal(&many),
        PlanError::TooManySteps {
            steps: MAX_STEPS + 1,
            limit: MAX_STEPS
        }
    );
}

#[test]
fn deep_nesting() {
    let deep = |open: &str, close: &str| {
        let inner = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        format!(
            r#"{{"version":"0","graph":{{"nodes":[{{"step":{{"key":"a","cmd":"x","runner_args":{inner}}}}}],"edges":[]}}}}"#
        )
    };
    for text in [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(1_000_000),
        "{\"version\":".repeat(500_000),
    ] {
        let error = refusal(&text);
        assert!(
            matches!(error, PlanError::TooDeep { .. } | PlanError::Shape { .. }),
            "{}",
            error.to_string().chars().take(200).collect::<String>()
        );
    }
    has(
        &refusal(&deep("[", "]")).to_string(),
        &["nests", "127 deep", "runner_args"],
    );
    let mut policy = json!({"policy": "auto"});
    for _ in 0..200 {
        policy = json!({"policy": "compose", "sub_policies": [policy]});
    }
    assert!(matches!(
        refusal(&with("cache", policy).to_string()),
        PlanError::TooDeep { .. }
    ));
}

#[test]
fn keys() {
    let with_key = |key: &str| {
        let mut plan = plan(2, &json!([]));
        plan["graph"]["nodes"][1] = node(key);
        words(&plan)
    };
    has(&with_key("a"), &["two steps", "`a`", "steps 0 and 1"]);
    has(&with_key(""), &["step 1", "is empty"]);
    has(&with_key("  "), &["is empty"]);
    has(&with_key("x\ny"), &["step 1", "\"x\\ny\"", "control character"]);
    has(&with_key("\u{1b}[2J"), &["control character"]);
    has(&with_key(&"k".repeat(257)), &["longer than 256 bytes"]);
    let mut plan = plan(1, &json!([]));
    plan["graph"]["nodes"][0] = node(&"k".repeat(256));
    assert!(PipelineGraph::parse(&plan.to_string()).is_ok());
}

#[test]
fn edges() {
    let refused = |edges: Value| words(&plan(4, &edges));
    has(
        &refused(json!([[0, 9, "builds_in"]])),
        &["edge 0", "from `a` to node 9", "0 to 3"],
    );
    has(
        &refused(json!([[0, 1, "builds_in"], [7, 1, "depends_on"]])),
        &["edge 1", "from node 7 to `b`"],
    );
    has(
        &refused(json!([[0, 1, "needs"]])),
        &["`a`", "`b`", "\"needs\"", "builds_in", "depends_on"],
    );
    has(
        &refused(json!([[2, 2, "depends_on"]])),
        &["step `c` waits for itself"],
    );
    has(
        &refused(json!([[0, 1]])),
        &["graph.edges[0]", "an edge: [from, to"],
    );
    has(&refused(json!([[-1, 1, "builds_in"]])), &["graph.edges[0]"]);
    has(&refused(json!([[0, 1, 5]])), &["graph.edges[0]"]);
    has(
        &refused(json!([[18_446_744_073_709_551_615_u64, 1, "builds_in"]])),
        &["node 18446744073709551615"],
    );
    has(
        &refused(json!([[2, 3, "builds_in"], [1, 3, "builds_in"]])),
        &["step `d` builds in both `b` and `c`", "depend on"],
    );
    let twice = plan(
        2,
        &json!([[0, 1, "builds_in"], [0, 1, "builds_in"], [0, 1, "depends_on"]]),
    );
    let graph = PipelineGraph::parse(&twice.to_string()).unwrap();
    let (a, b) = (graph.index_of("a").unwrap(), graph.index_of("b").unwrap());
    assert_eq!(
        (graph.dependencies(b), graph.dependents(a), graph.children(a)),
        (&[a][..], &[b][..], &[b][..])
    );
}

#[test]
fn cycles_are_named_in_order() {
    let refused = |edges: Value| refusal(&plan(6, &edges).to_string());
    let error = refused(json!([
        [0, 3, "depends_on"],
        [3, 1, "builds_in"],
        [1, 4, "depends_on"],
        [4, 3, "depends_on"],
        [4, 5, "builds_in"]
    ]));
    has(&error.to_string(), &["`b` -> `e` -> `d` -> `b`"]);
    let PlanError::Cycle { steps } = error else {
        panic!("{error}")
    };
    assert_eq!(
        steps.iter().map(|key| key.as_str()).collect::<Vec<_>>(),
        ["b", "e", "d"]
    );
    let builds = refused(json!([[0, 1, "builds_in"], [1, 0, "builds_in"]]));
    has(&builds.to_string(), &["`a` -> `b` -> `a`"]);
}

#[test]
fn node_holes_are_petgraphs() {
    let holey = |holes: Value, edges: Value| {
        let mut plan = plan(3, &edges);
        plan["graph"]["node_holes"] = holes;
        plan.to_string()
    };
    // Nodes 1, 4 and 5 are there; an edge that was removed is null.
    let edges = json!([[1, 4, "builds_in"], null, [5, 1, "depends_on"]]);
    let graph = PipelineGraph::parse(&holey(json!([0, 2, 3, 6]), edges.clone())).unwrap();
    let index = |key: &str| graph.index_of(key).unwrap();
    assert_eq!(graph.parent(index("b")), Some(index("a")));
    assert_eq!(graph.dependencies(index("a")), [index("c")]);
    let into_a_hole = json!([[1, 2, "builds_in"]]);
    has(
        &refusal(&holey(json!([0, 2, 3, 6]), into_a_hole)).to_string(),
        &["to node 2: node 2 is not there"],
    );
    has(
        &refusal(&holey(json!([2, 0]), edges.clone())).to_string(),
        &["node_holes", "0 does not come after 2"],
    );
    has(
        &refusal(&holey(json!([0, 0]), edges.clone())).to_string(),
        &["node_holes"],
    );
    has(
        &refusal(&holey(json!([0, 900]), edges)).to_string(),
        &["node_holes", "900 is beyond the last node, 4"],
    );
}

#[test]
fn undirected_edges() {
    let mut plan = plan(1, &json!([]));
    plan["graph"]["edge_property"] = json!("undirected");
    has(&words(&plan), &["\"undirected\"", "\"directed\""]);
    plan["graph"].as_object_mut().unwrap().remove("edge_property");
    assert!(PipelineGraph::parse(&plan.to_string()).is_ok());
}

#[test]
fn fields() {
    let mut zero = plan(1, &json!([]));
    zero["timeout_seconds"] = json!(0);
    has(&words(&zero), &["the pipeline has a timeout of 0 seconds"]);
    has(
        &words(&with("timeout_seconds", json!(0))),
        &["step `a` has a timeout of 0 seconds"],
    );
    has(&words(&with("cmd", json!("a\0b"))), &["step `a`", "`cmd`", "NUL"]);
    has(
        &words(&with("env", json!({"": "x"}))),
        &["step `a`", "name is empty"],
    );
    has(&words(&with("env", json!({"A=B": "x"}))), &["\"A=B\"", "`=`"]);
    has(
        &words(&with("env", json!({"A\u{0}": "x"}))),
        &["name contains a NUL"],
    );
    has(
        &words(&with("env", json!({"A": "x\u{0}"}))),
        &["\"A\"", "value contains a NUL"],
    );
    has(
        &words(&with("image", json!(" "))),
        &["step `a`", "`image`", "empty"],
    );
    has(
        &words(&with("retries", json!(11))),
        &["step `a`", "`retries`", "11", "10"],
    );
    has(
        &words(&with("network", json!("host"))),
        &["step `a`", "`network`", "\"host\""],
    );
    has(
        &words(&with("limits", json!({"memory": 0}))),
        &["step `a`", "`memory` is 0"],
    );
    has(
        &words(&with("limits", json!({"cpus": -0.5}))),
        &["`cpus` is -0.5"],
    );
    has(
        &words(&with("cache", json!({"policy": "weekly"}))),
        &["step `a`", "\"weekly\"", "on_change"],
    );
    for policy in ["ttl", "on_change", "forever"] {
        has(
            &words(&with("cache", json!({"policy": policy}))),
            &["step `a`", policy, "without a `key`"],
        );
    }
    let compose = json!({"policy": "compose", "sub_policies": [{"policy": "auto"}, {"policy": "forever"}]});
    has(&words(&with("cache", compose)), &["`compose` without a `key`"]);
    let auto = json!({"policy": "compose", "sub_policies": [{"policy": "auto"}]});
    assert!(PipelineGraph::parse(&with("cache", auto).to_string()).is_ok());
}

#[test]
fn what_we_add_and_what_we_do_not_know() {
    let mut plan = plan(1, &json!([]));
    plan["default_image"] = json!("debian:12");
    plan["timeout_seconds"] = json!(90);
    plan["from_the_future"] = json!({"deep": [1, 2, {"x": null}]});
    plan["graph"]["nodes"][0] = json!({
        "extra": true, "env": {"A": "node", "B": "node"},
        "step": {"key": "a", "cmd": "", "env": {"A": "step", "C": "step"}, "retries": 10, "soft_fail": true, "git": true,
                 "network": "none", "limits": {"memory": 1, "cpus": 1.5, "pids": 2, "disk": 3, "gpus": 8},
                 "cache": {"policy": "auto"}, "runner": "quantum", "label": null, "tags": ["x"]}
    });
    let graph = PipelineGraph::parse(&plan.to_string()).unwrap();
    assert_eq!(graph.default_image(), Some("debian:12"));
    assert_eq!(graph.timeout(), Some(std::time::Duration::from_secs(90)));
    let step = graph.step(graph.topological()[0]);
    assert_eq!((step.retries, step.soft_fail, step.git), (10, true, true));
    assert_eq!(step.network, Some(hm_pipeline_ir::Network::None));
    assert_eq!(
        (
            step.limits.memory,
            step.limits.cpus,
            step.limits.pids,
            step.limits.disk
        ),
        (Some(1), Some(1.5), Some(2), Some(3))
    );
    assert_eq!(step.runner.as_deref(), Some("quantum"));
    let env: Vec<&str> = step.env.values().map(String::as_str).collect();
    assert_eq!(env, ["node", "node", "step"]);
    assert_eq!(step.display_name(), "a");
}

#[test]
fn display_names_are_one_clean_line() {
    let name = |label: Value, cmd: &str| {
        let mut plan = with("label", label);
        plan["graph"]["nodes"][0]["step"]["cmd"] = json!(cmd);
        let graph = PipelineGraph::parse(&plan.to_string()).unwrap();
        graph.step(graph.topological()[0]).display_name()
    };
    assert_eq!(name(json!("build it"), "make"), "build it");
    assert_eq!(name(json!(null), "\n  make all\nmake test"), "make all");
    assert_eq!(name(json!(" \n"), "make"), "make");
    assert_eq!(name(json!("a\u{1b}[31m\nb"), "make"), "a [31m b");
    let long = name(json!(null), &"é".repeat(200));
    assert_eq!((long.chars().count(), long.ends_with("é…")), (60, true));
    assert_eq!(name(json!(null), &"x".repeat(60)), "x".repeat(60));
}

#[test]
fn envelopes() {
    let refused = |text: &str| Envelope::parse(text).unwrap_err().to_string();
    let entry = |slug: &str| json!({"slug": slug, "definition": {}});
    let of = |entries: &[Value]| json!({"schema_version": "1", "pipelines": entries}).to_string();
    has(&refused(&of(&[entry("ci"), entry("ci")])), &["\"ci\"", "twice"]);
    has(&refused(&of(&[entry("")])), &["empty slug"]);
    has(&refused(&of(&[entry("a\u{7}")])), &["control character"]);
    has(
        &refused(&of(&[json!({"slug": "ci"})])),
        &["missing field `definition`", "pipelines[0]"],
    );
    has(
        &refused(r#"{"schema_version": "2", "things": 1}"#),
        &["schema_version \"2\"", "\"1\""],
    );
    has(&refused(r#"{"pipelines": []}"#), &["no schema_version"]);
    has(&refused("nonsense"), &["not JSON", "line 1 column"]);
    assert_eq!(Envelope::parse(&of(&[])).unwrap().pipelines, []);
}
