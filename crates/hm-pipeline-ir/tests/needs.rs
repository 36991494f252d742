//! Services, secrets, artifacts and cache directories: what is read, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use hm_pipeline_ir::{
    Artifacts, CacheDirectory, CacheKeep, CollectWhen, HealthCheck, MAX_NEEDS, MAX_PATTERNS, PipelineGraph,
    SecretDelivery, SecretUse, Service, ServiceScope, Step,
};
use serde_json::{Value, json};

const NEEDS: &str = include_str!("fixtures/needs.json");

fn plan(field: &str, value: &Value) -> String {
    let mut step = json!({"key": "a", "cmd": "x", "env": {"TAKEN": "1"}});
    step[field] = value.clone();
    json!({"version": "0", "graph": {"nodes": [{"step": step}], "edges": []}}).to_string()
}

fn accepted(field: &str, value: Value) -> Step {
    let graph = PipelineGraph::parse(&plan(field, &value)).unwrap();
    graph.step(graph.topological()[0]).clone()
}

/// Refused with these words, naming step and field.
fn refused(field: &str, value: Value, expected: &str) {
    let words = PipelineGraph::parse(&plan(field, &value))
        .unwrap_err()
        .to_string();
    assert!(words.contains("`a`"), "{words}");
    assert!(words.contains(field), "{words}");
    assert!(
        words.contains(expected),
        "{words:?} does not contain {expected:?}"
    );
    assert!(words.len() < 600, "{words}");
}

#[test]
fn a_plan_that_uses_all_of_them_is_read() {
    let graph = PipelineGraph::parse(NEEDS).unwrap();
    let step = graph.step(graph.index_of("test").unwrap());
    let postgres = Service {
        name: "db".into(),
        image: Some("postgres:17".into()),
        cmd: None,
        shell: None,
        env: BTreeMap::from([("POSTGRES_PASSWORD".into(), "x".into())]),
        health: Some(HealthCheck {
            cmd: "pg_isready".into(),
            interval: Duration::from_millis(200),
            timeout: Duration::from_secs(60),
        }),
        scope: ServiceScope::Chain,
    };
    let redis = Service {
        name: "cache.local".into(),
        image: None,
        cmd: Some("redis-server".into()),
        shell: None,
        env: BTreeMap::new(),
        health: None,
        scope: ServiceScope::Step,
    };
    assert_eq!(step.services, [postgres, redis]);
    let secret = |name: &str, delivery| SecretUse {
        name: name.into(),
        delivery,
    };
    assert_eq!(
        step.secrets,
        [
            secret("TOKEN", SecretDelivery::Env("TOKEN".into())),
            secret("TOKEN", SecretDelivery::Env("GITHUB_TOKEN".into())),
            secret("KEY", SecretDelivery::File("deploy.key".into())),
        ]
    );
    assert_eq!(
        step.artifacts,
        [
            Artifacts {
                paths: vec!["report/**/*.xml".into(), "out/".into()],
                when: CollectWhen::Always,
                max_bytes: None,
            },
            Artifacts {
                paths: vec!["core.*".into()],
                when: CollectWhen::Failed,
                max_bytes: Some(104_857_600),
            },
        ]
    );
    let cache = |name: &str, path: &str| CacheDirectory {
        name: name.into(),
        path: path.into(),
        keep: CacheKeep::Passed,
    };
    assert_eq!(
        step.caches,
        [
            cache("cargo", "~/.cargo/registry"),
            cache("modules", "node_modules/.cache"),
            cache("apt", "/var/cache/apt"),
        ]
    );
    let deploy = graph.index_of("deploy").unwrap();
    let test = graph.index_of("test").unwrap();
    let names = |services: Vec<&Service>| {
        services
            .iter()
            .map(|service| service.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(graph.chain_services(deploy), [(test, &step.services[0])]);
    assert_eq!(names(graph.services(deploy)), ["db"]);
    assert_eq!(names(graph.services(test)), ["db", "cache.local"]);
    assert_eq!(graph.chain_services(graph.index_of("build").unwrap()), []);
}

#[test]
fn cache_directory_is_kept_always_where_the_plan_says_so() {
    let cache = |keep: Value| {
        let mut cache = json!({"name": "deps", "path": "~/.deps"});
        cache["keep"] = keep;
        json!([cache])
    };
    let step = accepted("caches", cache("always".into()));
    assert_eq!(step.caches[0].keep, CacheKeep::Always);
    refused("caches", cache("never".into()), "\"passed\" or \"always\"");
}

#[test]
fn services() {
    let service = |field: &str, value: Value| {
        let mut service = json!({"name": "db", "image": "i", "cmd": "x"});
        service[field] = value;
        json!([service])
    };
    for name in ["db", "my-db", "db.internal", "a1", "1a", "X", &"x".repeat(63)] {
        assert_eq!(
            accepted("services", service("name", json!(name))).services[0].name,
            name
        );
    }
    for (name, why) in [
        ("", "empty name"),
        ("my_db", "other characters than letters"),
        ("ä", "other characters"),
        ("a b", "other characters"),
        ("a..b", "part between dots that is empty"),
        (".a", "part between dots that is empty"),
        (&"x".repeat(64), "longer than 63"),
        (&"x.".repeat(130), "longer than 253"),
        ("-a", "begins or ends with `-`"),
        ("a-.b", "begins or ends with `-`"),
        ("127.0.0.1", "last part is a number"),
        ("localhost", "the machine itself"),
        ("db.LocalHost", "the machine itself"),
    ] {
        refused("services", service("name", json!(name)), why);
    }
    refused(
        "services",
        service("image", json!(" ")),
        "`db` has a wrong `image`: it is empty",
    );
    refused("services", service("cmd", json!(" ")), "`db` has an empty `cmd`");
    refused(
        "services",
        service("cmd", json!("a\0")),
        "NUL character in its `cmd`",
    );
    refused(
        "services",
        json!([{"name": "db"}]),
        "neither a `cmd` nor an `image`",
    );
    refused(
        "services",
        service("env", json!({"A=": "1"})),
        "the environment variable \"A=\", whose name",
    );
    refused(
        "services",
        service("scope", json!("build")),
        "the scope \"build\"",
    );
    refused(
        "services",
        service("health", json!({"cmd": ""})),
        "empty `health.cmd`",
    );
    refused(
        "services",
        service("health", json!("pg_isready")),
        "a health check (a JSON object)",
    );
    for seconds in [json!(0), json!(-1.5), json!(0.001), json!(3600.1), json!(1e300)] {
        for name in ["interval_seconds", "timeout_seconds"] {
            let health = json!({"cmd": "x", name: seconds});
            refused("services", service("health", health), name);
        }
    }
    let step = accepted("services", service("health", json!({"cmd": "x"})));
    let health = step.services[0].health.clone().unwrap();
    assert_eq!(
        (health.interval, health.timeout),
        (Duration::from_secs(1), Duration::from_secs(60))
    );
    refused(
        "services",
        json!([{"name": "db", "cmd": "x"}, {"name": "DB", "cmd": "x"}]),
        "two services are called `DB`",
    );
    let many: Vec<Value> = (0..=MAX_NEEDS)
        .map(|n| json!({"name": format!("s{n}"), "cmd": "x"}))
        .collect();
    assert_eq!(accepted("services", json!(many[1..])).services.len(), MAX_NEEDS);
    refused("services", json!(many), "more than the 32");
}

#[test]
fn services_of_a_chain() {
    let parsed = |services: [Value; 3]| {
        let nodes: Vec<Value> = services
            .iter()
            .zip(["a", "b", "c"])
            .map(|(services, key)| json!({"step": {"key": key, "cmd": "x", "services": services}}))
            .collect();
        let edges = json!([[0, 1, "builds_in"], [0, 2, "builds_in"]]);
        PipelineGraph::parse(&json!({"version": "0", "graph": {"nodes": nodes, "edges": edges}}).to_string())
    };
    let db = |cmd: &str, scope: &str| json!([{"name": "db", "cmd": cmd, "scope": scope}]);
    let other = parsed([db("x", "chain"), db("y", "chain"), json!([])])
        .unwrap_err()
        .to_string();
    assert!(
        other.contains("step `b`") && other.contains("step `a` has already started another service `db`"),
        "{other}"
    );
    assert!(parsed([db("x", "chain"), db("x", "step"), json!([])]).is_err());
    // What the step before had for itself is gone.
    assert!(parsed([db("x", "step"), db("y", "chain"), json!([])]).is_ok());
    // The second child is in a chain of its own.
    let graph = parsed([db("x", "chain"), db("x", "chain"), db("y", "chain")]).unwrap();
    let index = |key: &str| graph.index_of(key).unwrap();
    let cmds = |key: &str| {
        let services = graph.chain_services(index(key));
        services
            .into_iter()
            .map(|(step, service)| (step, service.cmd.clone().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(cmds("b"), [(index("a"), "x".to_owned())]);
    assert_eq!(cmds("c"), [(index("c"), "y".to_owned())]);
    let full = |from: usize| {
        let services =
            (from..from + MAX_NEEDS).map(|n| json!({"name": format!("s{n}"), "cmd": "x", "scope": "chain"}));
        Value::from(services.collect::<Vec<_>>())
    };
    assert!(parsed([full(0), json!([]), full(1)]).is_ok());
    let many = parsed([full(0), db("x", "chain"), json!([])])
        .unwrap_err()
        .to_string();
    assert!(
        many.contains("step `b`") && many.contains("more than the 32 services"),
        "{many}"
    );
}

#[test]
fn secrets() {
    let one = |secret: Value| json!([secret]);
    for name in ["", "1A", "a-b", "A B", "ä", "A="] {
        refused("secrets", one(json!({"name": name})), "is no name of a secret");
        refused(
            "secrets",
            one(json!({"name": "A", "env": name})),
            "cannot be given as the variable",
        );
    }
    for file in ["", ".", "..", "a/b", "/a", "a\nb", &"x".repeat(256)] {
        refused(
            "secrets",
            one(json!({"name": "A", "file": file})),
            "cannot be given as the file",
        );
    }
    assert_eq!(
        accepted("secrets", one(json!({"name": "_a1", "file": ".netrc"}))).secrets[0].delivery,
        SecretDelivery::File(".netrc".into())
    );
    refused(
        "secrets",
        one(json!({"name": "A", "env": "A", "file": "a"})),
        "both `env` and `file`",
    );
    refused(
        "secrets",
        one(json!({"name": "TAKEN"})),
        "which the environment of the step",
    );
    refused(
        "secrets",
        one(json!({"name": "A", "env": "TAKEN"})),
        "the variable `TAKEN`",
    );
    refused(
        "secrets",
        json!([{"name": "A"}, {"name": "B", "env": "A"}]),
        "two secrets are given as the variable `A`",
    );
    refused(
        "secrets",
        json!([{"name": "A", "file": "a"}, {"name": "B", "file": "a"}]),
        "two secrets are given as the file `a`",
    );
    let both = accepted("secrets", json!([{"name": "A"}, {"name": "A", "file": "A"}]));
    assert_eq!(both.secrets.len(), 2);
    refused(
        "secrets",
        json!(["TOKEN"]),
        "a secret (a JSON object with `name`)",
    );
    let many: Vec<Value> = (0..=MAX_NEEDS)
        .map(|n| json!({"name": format!("S{n}")}))
        .collect();
    refused("secrets", json!(many), "more than the 32");
}

#[test]
fn artifacts() {
    let path = |path: &str| json!([{"paths": [path]}]);
    for good in [
        "a",
        ".",
        "./a/",
        ".hidden",
        "**/*.xml",
        "{a,b}/c",
        "[!a]*",
        "a..b",
        "a b",
        &"x".repeat(1024),
    ] {
        assert_eq!(accepted("artifacts", path(good)).artifacts[0].paths, [good]);
    }
    for (bad, why) in [
        ("", "is empty"),
        ("/etc/passwd", "absolute"),
        ("../a", "leads out"),
        ("a/../../b", "leads out"),
        ("a/..", "leads out"),
        ("a\0", "NUL"),
        ("a[", "is no pattern"),
        ("{a", "is no pattern"),
        (&"x".repeat(1025), "longer than 1024"),
    ] {
        refused("artifacts", path(bad), why);
    }
    refused("artifacts", json!([{"paths": []}]), "`paths` is empty");
    refused(
        "artifacts",
        json!([{"paths": ["a"], "when": "never"}]),
        "`when` is \"never\"",
    );
    refused(
        "artifacts",
        json!([{"paths": ["a"], "max_bytes": 0}]),
        "`max_bytes` is 0",
    );
    refused(
        "artifacts",
        json!([{"paths": ["a"], "max_bytes": -1}]),
        "max_bytes",
    );
    let patterns = |count: usize| json!([{"paths": vec!["a"; count]}, {"paths": ["b"]}]);
    assert!(PipelineGraph::parse(&plan("artifacts", &patterns(MAX_PATTERNS - 1))).is_ok());
    refused("artifacts", patterns(MAX_PATTERNS), "more than the 256");
    refused(
        "artifacts",
        json!(vec![json!({"paths": ["a"]}); 33]),
        "more than the 32",
    );
}

/// What is accepted here is compiled, all of it together, by whoever collects.
#[test]
fn the_largest_patterns_can_be_matched() {
    let mut globs = globset::GlobSetBuilder::new();
    for piece in ["?", "*", "**/", "[!a]", "{a,b}", "[a-z]", "a*"] {
        let pattern = piece.repeat(1024 / piece.len());
        let step = accepted("artifacts", json!([{"paths": [pattern]}]));
        for path in &step.artifacts[0].paths {
            globs.add(
                globset::GlobBuilder::new(path)
                    .literal_separator(true)
                    .build()
                    .unwrap(),
            );
        }
    }
    assert_eq!(globs.build().unwrap().len(), 7);
}

#[test]
fn caches() {
    let at = |path: &str| json!([{"name": "c", "path": path}]);
    for (path, normal) in [
        ("~/.cargo/registry", "~/.cargo/registry"),
        ("node_modules/.cache/", "node_modules/.cache"),
        ("./a//b/.", "a/b"),
        ("/var/cache/apt/", "/var/cache/apt"),
        ("/workspace/target", "/workspace/target"),
        ("/run/secretsx", "/run/secretsx"),
        ("/development", "/development"),
        ("a/~b", "a/~b"),
    ] {
        assert_eq!(accepted("caches", at(path)).caches[0].path, normal);
    }
    for (path, why) in [
        ("", "is empty"),
        ("a/../b", "contains `..`"),
        ("~/../b", "contains `..`"),
        ("a\nb", "control character"),
        ("~", "begins with `~` but not with `~/`"),
        ("~root/x", "begins with `~` but not with `~/`"),
        ("~/", "the home directory itself"),
        ("~/.", "the home directory itself"),
        ("/", "hide or change /workspace"),
        ("//.", "hide or change /workspace"),
        (".", "hide or change /workspace"),
        ("/workspace/", "hide or change /workspace"),
        ("/run", "hide or change /run/secrets"),
        ("/run/secrets", "hide or change /run/secrets"),
        ("/run/secrets/a", "hide or change /run/secrets"),
        ("/proc", "hide or change /proc"),
        ("/sys/fs", "hide or change /sys"),
        ("//dev/shm", "hide or change /dev"),
        (&format!("/{}", "x".repeat(5_000)), "longer than a path"),
    ] {
        refused("caches", at(path), why);
    }
    for name in ["", ".hidden", "a/b", "..", "a b", "ä", &"x".repeat(129)] {
        refused(
            "caches",
            json!([{"name": name, "path": "a"}]),
            "is no name of a cache directory",
        );
    }
    let two = |name: &str, one: &str, other: &str| json!([{"name": "c", "path": one}, {"name": name, "path": other}]);
    refused(
        "caches",
        two("c", "a", "b"),
        "two cache directories are called `c`",
    );
    refused("caches", two("d", "a", "./a"), "one within the other");
    refused("caches", two("d", "a", "/workspace/a/b"), "one within the other");
    refused("caches", two("d", "~/a/b", "~/a"), "one within the other");
    assert_eq!(accepted("caches", two("d", "a", "ab")).caches.len(), 2);
    let many: Vec<Value> = (0..=MAX_NEEDS)
        .map(|n| json!({"name": format!("c{n}"), "path": format!("{n}")}))
        .collect();
    refused("caches", json!(many), "more than the 32");
}
