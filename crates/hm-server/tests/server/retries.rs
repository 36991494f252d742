//! A build, again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{BUILDS, build, end, job, plan, queued, sse, start, started};

const AGAIN: &str = "/hm/v1/organizations/acme/pipelines/ci/builds";

#[tokio::test]
async fn a_retried_build_is_a_new_one_of_the_same() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let mut body = build();
    body["source_b64"] = json!(STANDARD.encode("an archive"));
    body["env"] = json!({"A": "1"});
    let first = owner.build(&body).await;
    let lease = agent.lease().await;

    // It still runs, and may be retried all the same.
    let answer = owner.post(&format!("{AGAIN}/1/retry"), &json!({})).await;
    let made = answer.expect(201);
    assert_eq!((&made["number"], &made["source"]), (&json!(2), &json!("retry")));
    assert_eq!(
        (&made["state"], &made["branch"]),
        (&json!("scheduled"), &json!("main"))
    );
    assert_eq!(made["message"], "A change");
    let second = answer.headers["x-hm-build-id"].to_str().unwrap();
    assert_ne!(first, second);
    let again = agent.lease().await;
    assert_eq!(again["build_id"], second);
    assert_eq!(
        (&again["plan"], &again["env"]),
        (&json!(plan()), &json!({"A": "1"}))
    );
    assert_eq!(again["source"]["sha256"], lease["source"]["sha256"]);
    assert_ne!(job(&again, "build"), job(&lease, "build"));

    // Each has a source of its own.
    let path = format!("/api/v0/internal/builds/{second}/source.tar.gz");
    let source = server
        .with(again["source"]["token"].as_str().unwrap())
        .get(&path)
        .await;
    assert_eq!(source.text, "an archive");

    let step = job(&again, "build");
    let events = [queued(&step, "build"), start(&step), end(&step, 0)];
    agent.events(&again, 1, &events).await.expect(200);
    agent.complete(&again, 3, "passed").await.expect(200);
    let heard = owner.get(&format!("/hm/v1/builds/{second}/events")).await;
    let heard = sse(&heard.text);
    assert!(
        heard[0]
            .2
            .contains("\"note\":\"This build is a retry of build #1.\""),
        "{heard:?}"
    );
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "running"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_run_again_is_refused() {
    let (data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut body = build();
    body["source_b64"] = json!(STANDARD.encode("an archive"));
    let id = owner.build(&body).await;
    std::fs::remove_file(data.path().join(format!("blobs/sources/{id}.tar.gz"))).unwrap();
    let gone = owner.post(&format!("{AGAIN}/1/retry"), &json!({})).await;
    gone.refused(410, "source_gone");
    body["pipeline_ir"] = json!("{\"version\": \"0\"}");
    owner.post(BUILDS, &body).await.refused(422, "plan_rejected");
    let refused = owner.post(&format!("{AGAIN}/2/retry"), &json!({})).await;
    refused.refused(409, "plan_rejected");
    let missing = owner.post(&format!("{AGAIN}/3/retry"), &json!({})).await;
    missing.refused(404, "build_not_found");
    // A build without a source needs none.
    owner.build(&build()).await;
    let made = owner.post(&format!("{AGAIN}/3/retry"), &json!({})).await;
    assert_eq!(made.expect(201)["number"], 4);
    server.stop().await;
}
