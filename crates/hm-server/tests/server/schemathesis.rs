//! schemathesis against the served document: whatever is asked, the server answers as the document says, and never by
//! failing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Running, build, end, job, log, start};

/// How many requests of each kind are made for an operation, beside those at the edges of what it takes.
const EXAMPLES: &str = "8";
const SEED: &str = "20260101";
const CHECKS: &str =
    "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance";
/// What does not end for a build under way.
const STREAMS: [&str; 4] = [
    "--exclude-operation-id",
    "watchBuild",
    "--exclude-operation-id",
    "streamJobLogs",
];
/// What takes the caller's own login away, and so has to be asked last.
const ENDS: [&str; 2] = ["deleteCurrentUser", "logout"];

/// The one that `.ci/run` installs, or that of the path.
fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/schemathesis/bin/schemathesis");
    if installed.exists() {
        return installed;
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .map(|path| path.join("schemathesis"))
        .find(|path| path.exists());
    found.expect(
        "schemathesis is needed: python3 -m venv target/schemathesis && \
         target/schemathesis/bin/pip install schemathesis==4.32.5",
    )
}

async fn serve() -> (TempDir, Running) {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.agents.poll = Duration::from_millis(20);
    })
    .await;
    (data, server)
}

/// Asks as whoever has this token, about what these parameters name where they are given; fails where an answer is
/// none of the document's.
async fn ask(server: &Running, token: Option<&str>, given: &[(&str, &str)], more: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let mut config = String::from("[parameters]\n");
    for (name, value) in given {
        writeln!(config, "{name} = {value}").unwrap();
    }
    std::fs::write(place.path().join("schemathesis.toml"), config).unwrap();
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server");
    let mut command = tokio::process::Command::new(program());
    command
        .args(["run", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args([
            "--max-examples",
            EXAMPLES,
            "--seed",
            SEED,
            "--generation-database",
            "none",
        ])
        .args([
            "--no-shrink",
            "--no-color",
            "--warnings",
            "off",
            "--request-timeout",
            "20",
        ])
        .args(more)
        .arg(format!("http://{}/api/v0/openapi.json", server.address))
        .current_dir(place.path())
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true);
    if let Some(token) = token {
        command
            .arg("--header")
            .arg(format!("Authorization: Bearer {token}"));
    }
    let output = command.output().await.expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let asked = said
        .lines()
        .filter_map(|line| line.trim().split_once(" generated, "))
        .find_map(|(number, _)| number.parse::<u32>().ok());
    assert!(
        output.status.success() && asked.is_some_and(|asked| asked > 5),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let pong = server.anonymous().get("/api/v0/ping").await;
    pong.expect(200);
}

/// A build that has passed, and one that an agent has.
async fn builds(owner: &Client, agent: &Client) -> (Value, Value) {
    owner.pipeline().await;
    owner.build(&build()).await;
    let ended = agent.lease().await;
    let step = job(&ended, "build");
    agent
        .events(&ended, 1, &[start(&step), log(&step, "line"), end(&step, 0)])
        .await
        .expect(200);
    agent.complete(&ended, 3, "passed").await.expect(200);
    owner.build(&build()).await;
    (ended, agent.lease().await)
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_never_answered_by_a_failure() {
    let (_data, server) = serve().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    let (ended, _) = builds(&owner, &agent).await;
    let (id, step) = (
        quoted(ended["build_id"].as_str().unwrap()),
        quoted(&job(&ended, "build")),
    );
    let known = [
        ("org", "\"acme\""),
        ("pipeline", "\"ci\""),
        ("number", "1"),
        ("build_uuid", &id),
        ("job_id", &step),
    ];
    let token = owner.token.as_deref();
    let all_but_the_ends: Vec<&str> = ENDS
        .iter()
        .flat_map(|end| ["--exclude-operation-id", *end])
        .collect();
    ask(&server, token, &known, &all_but_the_ends).await;
    ask(&server, token, &[], &all_but_the_ends).await;
    owner.get("/api/v0/user").await.expect(200);
    for end in ENDS {
        let owner = server.owner().await;
        ask(
            &server,
            owner.token.as_deref(),
            &[],
            &["--include-operation-id", end],
        )
        .await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_never_answered_by_a_failure() {
    let (_data, server) = serve().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    let (_, held) = builds(&owner, &agent).await;
    let (id, step) = (
        quoted(held["build_id"].as_str().unwrap()),
        quoted(&job(&held, "build")),
    );
    let known = [
        ("org", "\"acme\""),
        ("pipeline", "\"ci\""),
        ("number", "2"),
        ("attempt", "1"),
        ("build_uuid", &id),
        ("job_id", &step),
    ];
    ask(&server, agent.token.as_deref(), &known, &STREAMS).await;
    let source = held["source"]["token"].as_str();
    assert!(source.is_none(), "this build has no source: {held}");
    owner.get("/api/v0/user").await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_ever_answered_by_a_failure() {
    let (_data, server) = serve().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    builds(&owner, &agent).await;
    ask(&server, None, &[("org", "\"acme\""), ("pipeline", "\"ci\"")], &[]).await;
    owner.get("/api/v0/user").await.expect(200);
    server.stop().await;
}
