//! Services, secrets, artifacts, cache directories and limits: what they become, and what is refused.

use hm_pipeline_ir::PipelineGraph;
use serde_json::{Value, json};

use crate::repo::Repo;

/// The step's own field, in a plan that can run.
fn field(name: &str, options: &str) -> Value {
    let repo = Repo::new();
    repo.pipeline(&format!("def ci():\n    return hm.sh('x', {options})"));
    let rendered = repo.render().unwrap();
    PipelineGraph::parse(&rendered.pipelines[0].ir_json).unwrap();
    repo.plan(&rendered)["graph"]["nodes"][0]["step"][name].clone()
}

/// Refused at the author's line, with these words.
fn refused(options: &str, expected: &str) {
    let repo = Repo::new();
    repo.pipeline(&format!("def ci():\n    return hm.sh('x', {options})"));
    let text = repo.render().unwrap_err().to_string();
    assert!(text.contains("  .hm/ci.py, line 4, in ci\n"), "{text}");
    assert!(!text.contains("harmont/"), "{text}");
    assert!(text.contains(expected), "{text:?} does not contain {expected:?}");
}

#[test]
fn services() {
    let found = field(
        "services",
        "services=[hm.service('db', image='postgres:17', env={'POSTGRES_PASSWORD': 'x'}, health='pg_isready', scope='chain'), \
         hm.service('redis', cmd='redis-server', scope='step', env={}, health=hm.health('redis-cli ping', interval=0.2, timeout='2m'))]",
    );
    let expected = json!([
        {"name": "db", "image": "postgres:17", "env": {"POSTGRES_PASSWORD": "x"}, "health": {"cmd": "pg_isready"}, "scope": "chain",
         "shell": "sh -e"},
        {"name": "redis", "cmd": "redis-server", "shell": "sh -e",
         "health": {"cmd": "redis-cli ping", "interval_seconds": 0.2, "timeout_seconds": 120}},
    ]);
    assert_eq!(found, expected);
    let exact = "services=[hm.service('a', cmd='a', health=hm.health('a', interval=__import__('datetime').timedelta(seconds=2), timeout=3.0))]";
    assert_eq!(
        field("services", exact)[0]["health"],
        json!({"cmd": "a", "interval_seconds": 2, "timeout_seconds": 3})
    );
}

#[test]
fn services_that_cannot_be() {
    for (options, expected) in [
        (
            "services=hm.service('db', image='i')",
            "services must be a list, not Service",
        ),
        (
            "services=['db']",
            "services must be a list of hm.service(...), not of str",
        ),
        (
            "services=[hm.service('my_db', image='i')]",
            "'my_db' cannot be the name of a service",
        ),
        (
            "services=[hm.service('-a', image='i')]",
            "cannot be the name of a service",
        ),
        (
            "services=[hm.service('a..b', image='i')]",
            "cannot be the name of a service",
        ),
        (
            "services=[hm.service('127.0.0.1', image='i')]",
            "cannot be the name of a service",
        ),
        (
            "services=[hm.service(7, image='i')]",
            "name of a service must be text, not int",
        ),
        (
            "services=[hm.service('localhost', image='i')]",
            "that is the machine itself",
        ),
        (
            "services=[hm.service('db')]",
            "service 'db' has nothing to run\n  → give it an image or a cmd",
        ),
        (
            "services=[hm.service('db', image=' ')]",
            "image of service 'db' must not be empty",
        ),
        (
            "services=[hm.service('db', image='i', env={'A': 1})]",
            "env['A'] must be text, not int",
        ),
        (
            "services=[hm.service('db', image='i', scope='build')]",
            "scope of service 'db' must be \"step\" or \"chain\"",
        ),
        (
            "services=[hm.service('db', image='i', health=5)]",
            "health of service 'db' must be text, not int",
        ),
        (
            "services=[hm.service('db', image='i', health=hm.health('x', interval=0))]",
            "interval of a health check must be positive",
        ),
        (
            "services=[hm.service('db', image='i', health=hm.health('x', timeout='2h'))]",
            "timeout of a health check must be from 0.01 to 3600 seconds, got '2h'",
        ),
        (
            "services=[hm.service('db', image='i', health=hm.health('x', interval=float('nan')))]",
            "interval of a health check must be from",
        ),
        (
            "services=[hm.service('db', image='i'), hm.service('DB', image='i')]",
            "two services are called 'db'",
        ),
        (
            "services=[hm.service(f's{n}', cmd='x') for n in range(33)]",
            "a step may have 32 services at most, got 33",
        ),
    ] {
        refused(options, expected);
    }
}

#[test]
fn secrets() {
    let found = field(
        "secrets",
        "secrets=['TOKEN', hm.secret('TOKEN', env='GITHUB_TOKEN'), hm.secret('KEY', file='deploy.key'), hm.secret('A', env='A')]",
    );
    let expected = json!([
        {"name": "TOKEN"}, {"name": "TOKEN", "env": "GITHUB_TOKEN"}, {"name": "KEY", "file": "deploy.key"}, {"name": "A"},
    ]);
    assert_eq!(found, expected);
    for (options, expected) in [
        ("secrets='TOKEN'", "secrets must be a list, not str"),
        (
            "secrets=[7]",
            "secrets must be a list of a name or hm.secret(...), not of int",
        ),
        ("secrets=['A-B']", "'A-B' cannot be the name of a secret"),
        ("secrets=['1A']", "cannot be the name of a secret"),
        (
            "secrets=[hm.secret('A', env='a b')]",
            "cannot be given as the variable 'a b'",
        ),
        (
            "secrets=[hm.secret('A', file='../x')]",
            "cannot be given as the file '../x'",
        ),
        (
            "secrets=[hm.secret('A', file='..')]",
            "cannot be given as the file",
        ),
        (
            "secrets=[hm.secret('A', env='A', file='a')]",
            "as a variable or as a file",
        ),
        (
            "secrets=['A', hm.secret('B', env='A')]",
            "two secrets are given as 'A'",
        ),
        (
            "secrets=[hm.secret('A', file='a'), hm.secret('B', file='a')]",
            "two secrets are given as 'file a'",
        ),
        ("secrets=['A'], env={'A': '1'}", "'A' is a secret and in env, too"),
    ] {
        refused(options, expected);
    }
}

#[test]
fn artifacts() {
    let of = |options: &str| field("artifacts", options);
    assert_eq!(
        of("artifacts=['report/**/*.xml', 'out']"),
        json!([{"paths": ["report/**/*.xml", "out"]}])
    );
    assert_eq!(
        of("artifacts=hm.artifacts(('core.*',), when='failed', max_bytes='100MiB')"),
        json!([{"paths": ["core.*"], "when": "failed", "max_bytes": 104_857_600}])
    );
    assert_eq!(
        of("artifacts=[hm.artifacts(['a'], when='always', max_bytes=7), 'b', 'c']"),
        json!([{"paths": ["b", "c"]}, {"paths": ["a"], "max_bytes": 7}])
    );
    for (options, expected) in [
        ("artifacts='report.xml'", "artifacts must be a list, not str"),
        (
            "artifacts=hm.artifacts('report.xml')",
            "paths of artifacts must be a list, not str",
        ),
        (
            "artifacts=hm.artifacts([])",
            "artifacts without paths keep nothing",
        ),
        (
            "artifacts=['/etc/passwd']",
            "'/etc/passwd' must be below the source's root",
        ),
        ("artifacts=['a/../../b']", "must be below the source's root"),
        (
            "artifacts=[7]",
            "artifacts must be a list of a path or hm.artifacts(...), not of int",
        ),
        (
            "artifacts=hm.artifacts(['a'], when='ever')",
            "when must be \"always\", \"passed\" or \"failed\", got 'ever'",
        ),
        (
            "artifacts=hm.artifacts(['a'], max_bytes='much')",
            "max_bytes must be bytes or a size such as \"512MiB\", got 'much'",
        ),
        (
            "artifacts=hm.artifacts(['a'], max_bytes=0)",
            "max_bytes must be a positive number, got 0",
        ),
    ] {
        refused(options, expected);
    }
}

#[test]
fn cache_directories() {
    let found = field(
        "caches",
        "caches=['~/.cargo/registry', hm.cache_dir('node_modules/.cache', name='node', keep='always'), '/var/cache/apt/', 'a-b/ü']",
    );
    let expected = json!([
        {"name": "home-.cargo-registry", "path": "~/.cargo/registry"},
        {"name": "node", "path": "node_modules/.cache", "keep": "always"},
        {"name": "root-var-cache-apt", "path": "/var/cache/apt/"},
        {"name": found[3]["name"], "path": "a-b/ü"},
    ]);
    assert_eq!(found, expected);
    let name = found[3]["name"].as_str().unwrap();
    assert!(name.starts_with("workspace-a--b-_-"), "{name}");
    for (options, expected) in [
        ("caches='~/.cache'", "caches must be a list, not str"),
        (
            "caches=[7]",
            "caches must be a list of a path or hm.cache_dir(...), not of int",
        ),
        ("caches=['a/../b']", "cannot be a cache directory"),
        ("caches=['~root/x']", "cannot be a cache directory"),
        ("caches=['/']", "'/' as a whole cannot be a cache directory"),
        ("caches=['~/']", "as a whole cannot be a cache directory"),
        (
            "caches=[hm.cache_dir('a', name='.a')]",
            "'.a' cannot be the name of a cache directory",
        ),
        (
            "caches=[hm.cache_dir('a', keep='never')]",
            "keep must be \"passed\" or \"always\", got 'never'",
        ),
        (
            "caches=[hm.cache_dir('a', name='a/b')]",
            "cannot be the name of a cache directory",
        ),
        (
            "caches=[hm.cache_dir('a', name='n'), hm.cache_dir('b', name='n')]",
            "two cache directories are called 'n'",
        ),
    ] {
        refused(options, expected);
    }
}

#[test]
fn names_of_cache_directories_come_from_their_paths_alone() {
    let names = |paths: &str| {
        let found = field("caches", &format!("caches=[{paths}]"));
        let names = found
            .as_array()
            .unwrap()
            .iter()
            .map(|cache| cache["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    // Paths that one way of joining words would give one name.
    let different = names("'home/x', '~/x', 'root/x', '/x', 'a/b', 'a-b', 'a_b', 'a b'");
    let set: std::collections::BTreeSet<_> = different.iter().collect();
    assert_eq!(set.len(), 8, "{different:?}");
    assert_eq!(names("'./a//b/'"), names("'a/b'"));
    assert!(names(&format!("'{}'", "long/".repeat(60)))[0].len() <= 128);
}

#[test]
fn limits() {
    assert_eq!(
        field(
            "limits",
            "limits=hm.limits(memory='2GiB', cpus=1.5, pids=100, disk=4096)"
        ),
        json!({"memory": 2_147_483_648_u64, "cpus": 1.5, "pids": 100, "disk": 4096})
    );
    refused(
        "limits=hm.limits(memory='2 apples')",
        "limits['memory'] must be bytes or a size",
    );
    refused(
        "limits=hm.limits(cpus=0)",
        "limits['cpus'] must be a positive number, got 0",
    );
    refused("limits=hm.limits(gpus=1)", "gpus");
    refused(
        "retries=11",
        "retries must be a whole number from 0 to 10, got 11",
    );
}

#[test]
fn what_is_empty_is_left_out() {
    let repo = Repo::new();
    repo.pipeline(
        "def ci():\n    return hm.sh('x', services=[], secrets=(), artifacts=[], caches=[], limits=hm.limits())",
    );
    let plan = repo.plan(&repo.render().unwrap());
    assert_eq!(
        plan["graph"]["nodes"][0]["step"],
        json!({"key": "x", "cmd": "x", "shell": "sh -e"})
    );
}
