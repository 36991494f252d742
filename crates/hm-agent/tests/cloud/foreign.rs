//! Source archives that lie on other servers, which an agent fetches from where it is.

use std::sync::Arc;
use std::time::Duration;

use harmont_client::models::{Build, BuildState};
use hm_exec::testing::{PlanWriter, StepWriter};
use hm_vm::testing::MemoryBackend;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Cloud, ORG, PIPELINE};

/// A server whose archive never comes to its end: a byte at a time.
async fn dripping() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/source.tar.gz",
        listener.local_addr().expect("an address")
    );
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let _ = client.read(&mut head).await;
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while client.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    });
    url
}

async fn submit(cloud: &Cloud, url: &str) -> i64 {
    let plan = PlanWriter::of([StepWriter::new("one", "true")]).json();
    let body = json!({"branch": "main", "commit": "none", "pipeline_ir": plan, "source_url": url});
    let path = format!(
        "{}/api/v0/organizations/{ORG}/pipelines/{PIPELINE}/builds",
        cloud.base
    );
    let request = reqwest::Client::new().post(path).bearer_auth(&cloud.token);
    let answer = request.json(&body).send().await.expect("an answer");
    let build: Build = answer.json().await.expect("a build");
    build.number
}

async fn until(cloud: &Cloud, number: i64, is: impl Fn(&Build) -> bool) -> Build {
    loop {
        let build = cloud.client.build(ORG, PIPELINE, number).await.expect("a build");
        if is(&build) {
            return build;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn source_of_a_host_that_is_not_named_is_refused() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.agent("agent", &MemoryBackend::new());
    let number = submit(&cloud, &dripping().await).await;
    let ended = until(&cloud, number, |build| build.state.is_final()).await;
    assert_eq!(ended.state, BuildState::Failed);
    let why = ended.error_message.expect("it says why");
    assert!(
        why.contains("`hm agent --source-host 127.0.0.1` allows it"),
        "{why}"
    );
    agent.drain().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn source_that_drips_ends_with_its_build_and_with_its_agent() {
    let mut cloud = Cloud::start().await;
    let vm = MemoryBackend::new();
    let backend = Arc::new(cloud.agents_backend("agent", &vm));
    let agent = cloud.agent_fetching("agent", backend, &["127.0.0.1"]);
    let url = dripping().await;
    let number = submit(&cloud, &url).await;
    until(&cloud, number, |build| build.state == BuildState::Running).await;
    cloud
        .client
        .cancel_build(ORG, PIPELINE, number)
        .await
        .expect("it is asked for");
    let ended = until(&cloud, number, |build| build.state.is_final()).await;
    assert_eq!(ended.state, BuildState::Canceled);

    let number = submit(&cloud, &url).await;
    until(&cloud, number, |build| build.state == BuildState::Running).await;
    agent.stop.cancel();
    agent.task.await.expect("no panic");
    until(&cloud, number, |build| build.state == BuildState::Scheduled).await;
    cloud.stop().await;
    assert_eq!(vm.counters().execs, 0);
}
