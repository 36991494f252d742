//! Builds that wait for an agent, go back to waiting, or that nobody can run.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{BUILDS, Client, Running, build, plan, started};

async fn give_back(agent: &Client, lease: &Value, reason: Option<&str>) {
    let path = format!("/agent/v1/builds/{}/release", lease["build_id"].as_str().unwrap());
    let body = json!({"attempt": lease["attempt"], "agent": "one", "reason": reason});
    agent.post(&path, &body).await.expect(204);
}

#[tokio::test]
async fn build_that_no_agent_can_run_lets_others_pass_and_fails_after_its_tries() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.agents.losses = 1;
        config.agents.sweep = Duration::from_millis(50);
    })
    .await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    owner.build(&build()).await;
    let first = agent.lease().await;
    assert_eq!(first["number"], 1);
    give_back(&agent, &first, Some("its archive cannot be kept here")).await;
    // It rests, and the one behind it goes on.
    assert_eq!(agent.lease().await["number"], 2);
    let again = agent
        .post("/agent/v1/lease", &json!({"agent": "one", "wait_seconds": 30}))
        .await
        .expect(200);
    assert_eq!((&again["number"], &again["attempt"]), (&json!(1), &json!(2)));
    give_back(&agent, &again, Some("its archive cannot be kept here")).await;
    let ended = owner.get(&format!("{BUILDS}/1")).await.expect(200);
    assert_eq!(
        (&ended["state"], &ended["error_code"]),
        (&json!("failed"), &json!("agent_failed"))
    );
    let why = ended["error_message"].as_str().unwrap();
    assert!(
        why.contains("its archive cannot be kept here") && why.contains("2 tries"),
        "{why}"
    );
    server.stop().await;
}

#[tokio::test]
async fn build_of_agents_that_are_stopped_never_fails_for_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| config.agents.losses = 1).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    for attempt in 1..=4 {
        let lease = agent.lease().await;
        assert_eq!(lease["attempt"], attempt);
        give_back(&agent, &lease, None).await;
    }
    // Whoever does it again and again waits a little for it.
    let body = json!({"agent": "one"});
    assert_eq!(agent.post("/agent/v1/lease", &body).await.status, 204);
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "scheduled"
    );
    server.stop().await;
}

#[tokio::test]
async fn build_says_which_labels_it_waits_for_and_whether_an_agent_has_them() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let mut wanted: Value = serde_json::from_str(&plan()).unwrap();
    wanted["labels"] = json!(["gpu"]);
    owner.build(&build()).await;
    owner
        .build(&json!({"branch": "main", "commit": "c", "pipeline_ir": wanted.to_string()}))
        .await;
    let waits = async || owner.get(&format!("{BUILDS}/2")).await.expect(200)["waits_for"].clone();
    assert_eq!(
        waits().await,
        "Waits for an agent with `gpu`; one build waits for longer; no such agent has asked for builds since the server's start."
    );
    assert_eq!(agent.lease().await["number"], 1);
    let body = json!({"agent": "two", "labels": ["arm"]});
    assert_eq!(agent.post("/agent/v1/lease", &body).await.status, 204);
    assert!(
        waits()
            .await
            .as_str()
            .unwrap()
            .contains("no build waits for longer; no such agent")
    );
    let body = json!({"agent": "two", "labels": ["arm", "gpu"]});
    assert_eq!(
        agent.post("/agent/v1/lease", &body).await.expect(200)["number"],
        2
    );
    assert_eq!(waits().await, Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn stream_ends_with_the_token_that_opened_it() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let id = owner.build(&build()).await;
    let key = owner
        .post("/api/v0/user/api-tokens", &json!({"description": "watcher"}))
        .await
        .expect(201);
    let watcher = server.with(key["token"].as_str().unwrap());
    let open = async |client: &Client, path: &str| {
        let response = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes_stream()
    };
    let jobs = owner.get(&format!("{BUILDS}/1/jobs")).await.expect(200);
    let log = format!("/v0/jobs/{}/logs", jobs["data"][0]["id"].as_str().unwrap());
    let mut streams = [
        open(&watcher, &format!("/hm/v1/builds/{id}/events")).await,
        open(&watcher, &log).await,
    ];
    let path = format!(
        "/api/v0/user/api-tokens/{}",
        key["api_token"]["id"].as_str().unwrap()
    );
    owner.delete(&path).await.expect(204);
    for stream in &mut streams {
        let ended = async { while stream.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), ended)
            .await
            .expect("it ends though the build goes on");
    }
    server.stop().await;
}

#[tokio::test]
async fn branch_of_any_length_is_taken() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut body = build();
    body["branch"] = json!("b".repeat(300));
    owner.build(&body).await;
    let branch = owner.get(&format!("{BUILDS}/1")).await.expect(200)["branch"].clone();
    assert_eq!(branch, "b".repeat(255));
    server.stop().await;
}
