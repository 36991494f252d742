//! What is kept of ended builds, for how long, and what is said afterwards.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use chrono::{DateTime, TimeDelta, Utc};
use hm_server::BuildId;
use hm_server::blobs::{BlobName, Blobs, DirectoryBlobs};
use hm_server::store::{Database, Kept, Retention, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{BUILDS, Client, Running, build, job, log, start};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn later(days: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(days)
}

fn with_source(bytes: usize) -> Value {
    let mut body = build();
    body["source_b64"] = json!(base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]));
    body
}

/// Runs a build to its end; its id and its first job's.
async fn ended(owner: &Client, agent: &Client, bytes: usize) -> (String, String) {
    let id = owner.build(&with_source(bytes)).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    agent
        .events(&lease, 1, &[start(&step), log(&step, "a line")])
        .await
        .expect(200);
    agent.complete(&lease, 2, "passed").await.expect(200);
    (id, step)
}

fn source(data: &TempDir, build: &str) -> PathBuf {
    data.path().join(format!("blobs/sources/{build}.tar.gz"))
}

fn log_of(data: &TempDir, build: &str) -> PathBuf {
    data.path()
        .join("logs")
        .join(&build[build.len() - 2..])
        .join(build)
}

async fn numbered(owner: &Client, number: u32) -> Value {
    owner.get(&format!("{BUILDS}/{number}")).await.expect(200)
}

#[tokio::test]
async fn logs_and_sources_go_after_their_time_and_everybody_is_told() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.keep.sources = Some(2 * DAY);
        config.keep.logs = Some(5 * DAY);
    })
    .await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let (id, step) = ended(&owner, &agent, 100).await;
    let running = owner.build(&with_source(100)).await;
    let lease = agent.lease().await;
    agent
        .events(&lease, 1, &[log(&job(&lease, "build"), "still here")])
        .await
        .expect(200);

    server.server.retain(later(1)).await.unwrap();
    assert!(source(&data, &id).exists() && log_of(&data, &id).exists());
    assert_eq!(numbered(&owner, 1).await["source_removed_at"], Value::Null);

    server.server.retain(later(3)).await.unwrap();
    assert!(!source(&data, &id).exists() && log_of(&data, &id).exists());
    let shown = numbered(&owner, 1).await;
    assert!(shown["source_removed_at"].is_string(), "{shown}");
    assert!(shown.get("log_removed_at").is_none(), "{shown}");
    let retry = "/hm/v1/organizations/acme/pipelines/ci/builds/1/retry";
    owner.post(retry, &json!({})).await.refused(410, "source_gone");
    let events = format!("/hm/v1/builds/{id}/events");
    assert!(owner.get(&events).await.text.contains("a line"));

    server.server.retain(later(6)).await.unwrap();
    assert!(!log_of(&data, &id).exists());
    for path in [
        events.clone(),
        format!("{events}?after=1000"),
        format!("/v0/jobs/{step}/logs"),
    ] {
        owner.get(&path).await.refused(410, "log_removed");
    }
    let listed = owner.get(BUILDS).await.expect(200);
    assert!(listed["data"][1]["log_removed_at"].is_string(), "{listed}");
    assert_eq!(listed["data"][1]["state"], "passed");
    let jobs = owner.get(&format!("{BUILDS}/1/jobs")).await.expect(200);
    assert_eq!(jobs["data"].as_array().map(Vec::len), Some(2), "{jobs}");

    // What has not ended keeps everything, however old it is.
    assert!(source(&data, &running).exists() && log_of(&data, &running).exists());
    assert_eq!(numbered(&owner, 2).await.get("log_removed_at"), None);
    agent.complete(&lease, 1, "passed").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn for_ever_is_for_ever_and_a_budget_takes_the_oldest() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        (config.keep.sources, config.keep.logs) = (None, None);
        config.keep.source_bytes = Some(25_000);
    })
    .await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(ended(&owner, &agent, 10_000).await.0);
    }
    server.server.retain(later(10_000)).await.unwrap();
    let left: Vec<bool> = ids.iter().map(|id| source(&data, id).exists()).collect();
    assert_eq!(left, [false, false, true, true]);
    assert!(ids.iter().all(|id| log_of(&data, id).exists()));
    server.stop().await;
}

#[tokio::test]
async fn what_a_crash_left_half_removed_is_removed_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |_| {}).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let (id, _) = ended(&owner, &agent, 100).await;
    let (kept, _) = ended(&owner, &agent, 100).await;
    server.stop().await;

    // The row says so, and then the power went.
    let database = Database::open(&data.path().join("hm.sqlite")).await.unwrap();
    let store = SqliteStore::new(database.clone());
    for what in [Kept::Log, Kept::Source] {
        assert_eq!(store.give_up(what, later(1), later(1), 1).await.unwrap(), 1);
    }
    database.close().await;
    // An upload whose build was never made, and one that was not finished.
    let stray = BuildId::new();
    let blobs = DirectoryBlobs::open(&data.path().join("blobs")).unwrap();
    let mut writer = blobs.create(&BlobName::source(stray)).await.unwrap();
    writer.write("whole".into()).await.unwrap();
    writer.finish().await.unwrap();
    let unfinished = data
        .path()
        .join(format!("blobs/sources/{}.tar.gz#1", BuildId::new()));
    std::fs::write(&unfinished, "half").unwrap();
    assert!(source(&data, &id).exists() && source(&data, &stray.to_string()).exists());

    let server = Running::start(&data, |_| {}).await;
    assert!(!source(&data, &id).exists() && !log_of(&data, &id).exists());
    assert!(!source(&data, &stray.to_string()).exists() && !unfinished.exists());
    assert!(source(&data, &kept).exists() && log_of(&data, &kept).exists());
    let owner = server.with(owner.token.unwrap());
    owner
        .get(&format!("/hm/v1/builds/{id}/events"))
        .await
        .refused(410, "log_removed");
    server.stop().await;
}
