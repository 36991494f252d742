//! Watching builds.

use std::fs;

use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;

use crate::harness::{Client, Running, build, end, job, log, queued, sse, start, started};

/// Reads a stream until so many events have come, or it ends: what had happened before comes as one.
async fn hear(client: &Client, path: &str, count: usize) -> Vec<(String, String, String)> {
    let response = client.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let (mut body, mut text) = (response.bytes_stream(), String::new());
    while sse(&text).len() < count || !text.ends_with("\n\n") {
        let Some(piece) = body.next().await else { break };
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    sse(&text)
}

#[tokio::test]
async fn a_watcher_hears_each_line_as_it_comes_and_resumes_without_loss() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let (first, second) = (job(&lease, "build"), job(&lease, "test"));
    agent
        .events(
            &lease,
            1,
            &[queued(&first, "build"), start(&first), log(&first, "one")],
        )
        .await
        .expect(200);
    let path = format!("/v0/jobs/{first}/logs");
    let heard = hear(&owner, &path, 1).await;
    assert_eq!((heard[0].0.as_str(), heard[0].1.as_str()), ("history", ""));
    assert!(
        heard[0]
            .2
            .starts_with(r#"{"chunks":[{"seq":3,"stream_kind":0,"content":"one\n","ts":"#),
        "{heard:?}"
    );

    let watching = {
        let (owner, path) = (owner.clone(), path.clone());
        tokio::spawn(async move { hear(&owner, &format!("{path}?after=3"), 4).await })
    };
    // Another job's lines are not this one's.
    agent
        .events(&lease, 4, &[log(&second, "other"), log(&first, "two")])
        .await
        .expect(200);
    agent
        .events(&lease, 6, &[log(&first, "three"), end(&first, 0)])
        .await
        .expect(200);
    let heard = watching.await.unwrap();
    let mut lines = Vec::new();
    for (kind, _, data) in &heard {
        match (kind.as_str(), serde_json::from_str::<Value>(data).unwrap()) {
            ("history", history) => lines.extend(history["chunks"].as_array().cloned().expect("chunks")),
            ("chunk", chunk) => lines.push(chunk),
            ("done", empty) => assert_eq!(empty, serde_json::json!({})),
            other => panic!("{other:?}"),
        }
    }
    let seen: Vec<_> = lines
        .iter()
        .map(|chunk| (chunk["seq"].as_u64().unwrap(), chunk["content"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [(5, "two\n"), (6, "three\n")]);
    assert_eq!(heard.last().unwrap().0, "done");

    let request = owner.request(Method::GET, &path).header("last-event-id", "5");
    let heard = sse(&owner.send(request).await.text);
    assert!(
        heard[0].2.contains("three") && !heard[0].2.contains("two"),
        "{heard:?}"
    );
    let request = owner.request(Method::GET, &path).header("last-event-id", "x");
    owner.send(request).await.refused(400, "malformed_request");
    server.stop().await;
}

/// This process's resident memory, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A build of many lines; how many bytes a watcher of it heard, and how many lines.
async fn noisy(server: &Running, lines: u64) -> (u64, u64) {
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    agent.events(&lease, 1, &[start(&step)]).await.expect(200);
    let mut told = 1;
    while told < lines {
        let batch: Vec<Value> = (0..5000.min(lines - told))
            .map(|_| log(&step, "a line of output like many others"))
            .collect();
        agent.events(&lease, told + 1, &batch).await.expect(200);
        told += batch.len() as u64;
    }
    agent.events(&lease, told + 1, &[end(&step, 0)]).await.expect(200);
    agent.complete(&lease, told + 1, "passed").await.expect(200);
    let response = owner
        .request(Method::GET, &format!("/v0/jobs/{step}/logs"))
        .send()
        .await
        .unwrap();
    let mut body = response.bytes_stream();
    let (mut bytes, mut heard) = (0, 0);
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        bytes += piece.len() as u64;
        heard += piece.windows(8).filter(|window| *window == b"of outpu").count() as u64;
    }
    (bytes, heard)
}

#[tokio::test]
async fn a_long_build_costs_no_more_memory_than_a_short_one() {
    let (_data, server) = started().await;
    server.owner().await.pipeline().await;
    noisy(&server, 20_000).await;
    let before = resident();
    let (bytes, heard) = noisy(&server, 200_000).await;
    let grown = resident().saturating_sub(before);
    // A window may lie across two pieces; lines are counted but for those.
    assert!((190_000..=199_999).contains(&heard), "{heard}");
    assert!(
        grown < bytes / 2,
        "grew by {grown} bytes while {bytes} went through"
    );
    server.stop().await;
}
