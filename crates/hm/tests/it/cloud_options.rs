//! How a build is to run goes along to the server: the same flags are the same events, here and there.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::harness::{FAILING, Said, World};

/// What says when, where and as what a build ran, and not how.
const OF_THE_RUN: [&str; 13] = [
    "prepare_ms",
    "run_id",
    "started_at",
    "ts",
    "duration_ms",
    "snapshot",
    "tag",
    "backend",
    "source_id",
    "source_changed",
    "number",
    "org",
    "watch_url",
];

/// What the agent says of itself, which `hm run` tells only when it comes at once.
const OF_THE_AGENT: [&str; 4] = ["images", "default_image", "parallelism", "notices"];

fn without(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !names.contains(&name.as_str()) && !value.is_null());
            fields.values_mut().for_each(|value| without(value, names));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| without(value, names)),
        _ => {}
    }
}

/// Events of `--format json`, steps by their keys.
fn events(said: &Said, left_out: &[&str]) -> Vec<String> {
    let mut keys = HashMap::new();
    let lines = said.stdout();
    let told = lines.lines().map(|line| {
        let mut event: Value = serde_json::from_str(line).expect("JSON");
        if event["kind"] == "step_queued" {
            keys.insert(event["step_id"].clone(), event["key"].clone());
        }
        for name in ["step_id", "failed_step_id"] {
            if let Some(id) = event.get_mut(name) {
                *id = keys.get(id).expect("it was queued").clone();
            }
        }
        without(&mut event, &OF_THE_RUN);
        without(&mut event, left_out);
        event.to_string()
    });
    told.collect()
}

/// Steps of which one fails, and what comes before, after and beside it; one is cached.
fn plan() -> String {
    let steps = [
        json!({"key": "base", "cmd": "echo base > base", "cache": {"policy": "forever", "key": "base"}}),
        json!({"key": "bad", "cmd": "echo no >&2; exit 3"}),
        json!({"key": "after", "cmd": "echo never"}),
        json!({"key": "good", "cmd": "cat base; echo good"}),
        json!({"key": "last", "cmd": "echo last"}),
    ];
    let nodes: Vec<_> = steps
        .iter()
        .map(|step| json!({"step": step, "env": {}}))
        .collect();
    json!({"version": "0", "graph": {
        "nodes": nodes, "node_holes": [], "edge_property": "directed",
        "edges": [[0, 1, "builds_in"], [1, 2, "builds_in"], [0, 3, "builds_in"], [3, 4, "builds_in"]],
    }})
    .to_string()
}

#[test]
fn the_same_flags_are_the_same_events_here_and_there() {
    let cloud = Cloud::dev(World::new());
    cloud.world.write("p.json", &plan());
    cloud.world.write(
        "slow.json",
        &World::plan(&[("a", "sleep 1000", None), ("b", "true", Some("a"))]),
    );
    // A cache of its own: the agent's is the one that `hm run` usually has.
    let other = cloud.world.path().join("other");
    let other = other.to_str().expect("UTF-8");
    for (number, (plan, flags, code)) in [
        ("p.json", &["-j", "1"][..], 1),
        ("p.json", &["-j", "1", "--keep-going"], 1),
        ("p.json", &["-j", "1", "--only", "good"], 0),
        ("p.json", &["-j", "1", "--from", "good"], 0),
        ("p.json", &["-j", "1", "--no-cache", "-k"], 1),
        (
            "p.json",
            &[
                "-j",
                "1",
                "--network",
                "none",
                "-k",
                "--image",
                "ubuntu:24.04=host",
            ],
            1,
        ),
        ("slow.json", &["-j", "1", "--timeout", "2s"], 124),
    ]
    .into_iter()
    .enumerate()
    {
        let common = [&["run", "--plan", plan, "--format", "json"], flags].concat();
        let here = cloud
            .hm(&[&common[..], &["--data-dir", other]].concat())
            .expect(code);
        let there = cloud
            .hm(&[&common[..], &["--backend", "cloud"]].concat())
            .expect(code);
        assert_eq!(
            events(&here, &OF_THE_AGENT),
            events(&there, &OF_THE_AGENT),
            "{flags:?}\n{here}{there}"
        );
        // Who comes later sees all that the agent says of itself.
        let pipeline = plan.trim_end_matches(".json");
        let number = if pipeline == "p" { number + 1 } else { 1 };
        let number = number.to_string();
        let watched = cloud
            .hm(&["cloud", "build", "watch", pipeline, &number, "--format", "json"])
            .expect(code);
        assert_eq!(
            events(&here, &[]),
            events(&watched, &[]),
            "{flags:?}\n{here}{watched}"
        );
    }
    let shown = cloud
        .hm(&["cloud", "build", "show", "slow", "--json"])
        .expect(0)
        .stdout();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        shown["run_options"],
        json!({"timeout_ms": 2000, "parallelism": 1})
    );
    assert_eq!(shown["error_code"], "timed_out");
}

#[test]
fn what_means_nothing_to_an_agent_is_refused_and_what_is_of_this_machine_stays() {
    let cloud = Cloud::dev(World::new());
    let world = &cloud.world;
    world.write("p.json", &World::plan(&[("a", "true", None)]));
    for (flags, wrong) in [
        (&["--pull", "never"][..], "--pull"),
        (&["--platform", "linux/arm64"], "--platform"),
        (&["--artifacts", "there"], "--artifacts"),
        (&["--image", "ubuntu:24.04=./image.tar"], "a path on this machine"),
        (&["--only", "b"], "no step `b`"),
    ] {
        let args = [&["run", "--backend", "cloud", "--plan", "p.json"], flags].concat();
        let said = cloud.hm(&args).expect(2);
        assert!(said.stderr().contains(wrong), "{said}");
    }
    let none = cloud.hm(&["cloud", "build", "list", "--json"]).expect(0).stdout();
    assert_eq!(none, "", "nothing of it was submitted");

    world.write(".hm/config.toml", "keep_going = true\n[limits]\npids = 500\n");
    let home = world.path().join("home/.config/hm");
    std::fs::create_dir_all(&home).expect("a directory");
    let own = "parallelism = 3\n[limits]\nmemory = \"1GiB\"\n[images]\n\"ubuntu:24.04\" = \"/srv/rootfs\"\n";
    std::fs::write(home.join("config.toml"), own).expect("a file");
    let args = ["run", "--backend", "cloud", "--plan", "p.json"];
    let mut command = world.command(&args);
    world.say(command.env("HM_LIMITS_CPUS", "2")).expect(0);
    let shown = cloud
        .hm(&["cloud", "build", "show", "p", "--json"])
        .expect(0)
        .stdout();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        shown["run_options"],
        json!({"keep_going": true, "limits": {"pids": 500}})
    );
}

/// The keys of the steps that ran.
fn ran(said: &Said) -> Vec<String> {
    let started = events(said, &[]);
    let started = started
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).expect("JSON"));
    let started = started.filter(|event| event["kind"] == "step_start");
    let mut keys: Vec<_> = started
        .map(|event| event["step_id"].as_str().expect("a key").to_owned())
        .collect();
    keys.sort();
    keys
}

fn builds(cloud: &Cloud, pipeline: &str) -> Vec<Value> {
    let listed = cloud
        .hm(&["cloud", "build", "list", pipeline, "--json"])
        .expect(0)
        .stdout();
    let builds = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    builds.collect()
}

#[test]
fn a_build_of_a_server_is_run_again_there_with_what_it_had() {
    let cloud = Cloud::dev(World::with_pipeline(FAILING));
    cloud.hm(&["cloud", "pipeline", "create", "other"]).expect(0);
    cloud
        .hm(&[
            "run",
            "--backend",
            "cloud",
            "--cloud-pipeline",
            "other",
            "-k",
            "-e",
            "A=1",
        ])
        .expect(1);
    let run = cloud.world.newest();

    let again = cloud.hm(&["rerun", &run, "--format", "json"]).expect(1);
    assert_eq!(ran(&again), ["bad", "base", "good"]);
    cloud.world.write("wanted.txt", "wanted\n");
    // The agent has what the steps left.
    let failed = cloud
        .hm(&["rerun", &run, "--failed", "--format", "json"])
        .expect(0);
    assert_eq!(ran(&failed), ["after", "bad"]);
    let from = cloud
        .hm(&["rerun", &run, "--from", "good", "--format", "json"])
        .expect(0);
    assert_eq!(ran(&from), ["good"]);
    let found = builds(&cloud, "other");
    assert_eq!(found.len(), 4, "{found:?}");
    for build in &found {
        assert_eq!(build["run_options"]["keep_going"], true, "{build}");
    }
    assert!(found[1]["run_options"]["done"]["base"].is_string(), "{found:?}");

    let made = cloud.hm(&["artifacts", &run]).expect(0);
    assert!(made.stderr().contains("stays with the agent"), "{made}");

    // A token is for one server, and goes to no other.
    let mut elsewhere = cloud.world.command(&["rerun", &run]);
    elsewhere
        .env("HM_API_URL", "https://ci.example.org")
        .env("HM_API_TOKEN", "hm_api_secret");
    let refused = cloud.world.say(&mut elsewhere).expect(2);
    assert!(
        refused
            .stderr()
            .contains("HM_API_TOKEN is for https://ci.example.org"),
        "{refused}"
    );

    let args = ["run", "--backend", "cloud", "--no-watch", "--format", "json"];
    let told = cloud.hm(&args).expect(0).stdout();
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let kinds: Vec<_> = told.iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["build_start", "build_accepted"]);
    // All that a script needs to find the build again.
    let build = &told[1]["build"];
    assert_eq!((&build["number"], &build["pipeline"]), (&json!(1), &json!("ci")));
    assert!(
        told[1]["watch_url"]
            .as_str()
            .is_some_and(|url| url.ends_with("/ci/builds/1"))
    );
    let unwatched = cloud.hm(&["rerun", "--failed"]).expect(2);
    assert!(unwatched.stderr().contains("nobody watched"), "{unwatched}");
}

#[test]
fn a_build_is_retried_from_the_command_line() {
    let cloud = Cloud::dev(World::new());
    cloud.world.write("p.json", &plan());
    cloud
        .hm(&["run", "--backend", "cloud", "--plan", "p.json", "-k"])
        .expect(1);
    let again = cloud
        .hm(&["cloud", "build", "retry", "p", "1", "--format", "plain"])
        .expect(1);
    assert!(
        again.stderr().contains("build 2 of p is a retry of build 1"),
        "{again}"
    );
    assert!(
        again.stdout().contains("This build is a retry of build #1"),
        "{again}"
    );
    assert!(
        again.stdout().contains("last"),
        "it keeps going, as the first: {again}"
    );
    let args = [
        "cloud",
        "build",
        "retry",
        "p",
        "1",
        "--no-watch",
        "--format",
        "json",
    ];
    let made: Value = serde_json::from_str(&cloud.hm(&args).expect(0).stdout()).expect("JSON");
    assert_eq!((&made["number"], &made["trigger"]), (&json!(3), &json!("retry")));
    cloud.hm(&["cloud", "build", "watch", "p", "3"]).expect(1);
    let found = builds(&cloud, "p");
    let triggers: Vec<_> = found.iter().map(|build| build["trigger"].as_str()).collect();
    assert_eq!(triggers, [Some("retry"), Some("retry"), Some("hm")]);

    std::fs::remove_dir_all(cloud.server_data().join("blobs/sources")).expect("the sources");
    let gone = cloud.hm(&["cloud", "build", "retry", "p", "1"]).expect(2);
    assert!(gone.stderr().contains("no longer has its source"), "{gone}");
}

#[test]
fn what_another_agent_left_is_run_again() {
    let mut cloud = Cloud::alone(World::with_pipeline(FAILING));
    let first = cloud.agent("first");
    cloud.hm(&["run", "--backend", "cloud", "-k"]).expect(1);
    first.end();
    let second = cloud.agent("second");
    cloud.world.write("wanted.txt", "wanted\n");
    let failed = cloud.hm(&["rerun", "--failed", "--format", "json"]).expect(0);
    assert_eq!(ran(&failed), ["after", "bad", "base", "good"]);
    second.end();
    cloud.server.take().expect("a server").end();
}

#[test]
fn an_agents_own_images_stand_in_where_a_build_names_none() {
    let mut cloud = Cloud::alone(World::new());
    // Whoever submits has the same file, of which this stays here.
    let config = cloud.world.path().join("home/.config/hm/config.toml");
    std::fs::write(config, "[images]\n\"image-of-nowhere:1\" = \"host\"\n").expect("a file");
    let agent = cloud.agent("agent");
    let plan = json!({"version": "0", "default_image": "image-of-nowhere:1", "graph": {
        "nodes": [{"step": {"key": "a", "cmd": "echo there"}, "env": {}}],
        "node_holes": [], "edge_property": "directed", "edges": [],
    }});
    cloud.world.write("p.json", &plan.to_string());
    let args = [
        "run",
        "--backend",
        "cloud",
        "--plan",
        "p.json",
        "--format",
        "plain",
    ];
    let said = cloud.hm(&args).expect(0);
    assert!(said.stdout().contains("there"), "{said}");
    assert!(builds(&cloud, "p")[0]["run_options"].get("images").is_none());
    agent.end();
    cloud.server.take().expect("a server").end();
}
