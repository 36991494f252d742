//! Copies of a server's data are a server's data.

use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::harness::{BUILDS, Client, Running, build, end, job, log, start};

/// Runs a build to its end.
async fn ended(owner: &Client, agent: &Client, words: &str) -> String {
    let id = owner.build(&build()).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    let events = [start(&step), log(&step, words), end(&step, 0)];
    agent.events(&lease, 1, &events).await.expect(200);
    agent.complete(&lease, 3, "passed").await.expect(200);
    id
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A server over a copy knows the tokens, the builds and their logs, and goes on.
async fn works(copy: &tempfile::TempDir, tokens: [&Client; 2], id: &str) {
    let server = Running::start(copy, |_| {}).await;
    let [owner, agent] = tokens.map(|client| server.with(client.token.clone().unwrap()));
    let log = owner.get(&format!("/hm/v1/builds/{id}/events")).await;
    assert!(
        log.text.contains("said before") && log.text.contains("build_end"),
        "{log:?}"
    );
    ended(&owner, &agent, "said after").await;
    let listed = owner.get(BUILDS).await.expect(200);
    let states: Vec<&Value> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| &build["state"])
        .collect();
    assert_eq!(states, ["passed", "passed"], "{listed}");
    server.stop().await;
}

#[tokio::test]
async fn a_copy_of_a_stopped_servers_directory_is_a_server() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |_| {}).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = ended(&owner, &agent, "said before").await;
    server.stop().await;
    let other = tempfile::tempdir().unwrap();
    copy(data.path(), other.path());
    works(&other, [&owner, &agent], &id).await;
}

#[tokio::test]
async fn so_is_an_online_backup_of_the_database_with_a_copy_of_the_rest() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |_| {}).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = ended(&owner, &agent, "said before").await;

    let other = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(data.path().join("hm.sqlite"));
    let database = SqlitePool::connect_with(options.read_only(true)).await.unwrap();
    sqlx::query("VACUUM INTO $1")
        .bind(other.path().join("hm.sqlite").to_str().unwrap())
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    // What happens between the two is in the second alone.
    ended(&owner, &agent, "too late").await;
    for below in ["logs", "blobs"] {
        copy(&data.path().join(below), &other.path().join(below));
    }
    std::fs::copy(data.path().join("signing.key"), other.path().join("signing.key")).unwrap();
    works(&other, [&owner, &agent], &id).await;
    server.stop().await;
}
