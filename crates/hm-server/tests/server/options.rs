//! How a build runs: taken whole or refused.

use serde_json::json;

use crate::harness::{BUILDS, build, started};

const RETRY: &str = "/hm/v1/organizations/acme/pipelines/ci/builds/1/retry";

#[tokio::test]
async fn options_go_to_the_agent_and_along_with_a_retry() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let options = json!({
        "keep_going": true, "timeout_ms": 1500, "parallelism": 2, "only": "test", "network": "none",
        "limits": {"memory": 1024, "milli_cpus": 1500}, "images": {"ubuntu:24.04": "host"},
        "done": {"build": "snapshot-1"},
    });
    let mut body = build();
    body["run_options"] = options.clone();
    let made = owner.post(BUILDS, &body).await.expect(201);
    assert_eq!(made["run_options"], options);
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["run_options"],
        options
    );
    assert_eq!(agent.lease().await["options"], options);
    assert_eq!(
        owner.post(RETRY, &json!({})).await.expect(201)["run_options"],
        options
    );
    assert_eq!(agent.lease().await["options"], options);

    // Who asks for nothing hears nothing of it.
    let plain = owner.post(BUILDS, &build()).await.expect(201);
    assert!(plain.get("run_options").is_none(), "{plain}");
    assert_eq!(agent.lease().await["options"], json!({}));
    server.stop().await;
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_and_no_build_is_made() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    for (options, words) in [
        (json!({"keep_going": true, "colour": 1}), "colour"),
        (json!({"limits": {"colour": 1}}), "colour"),
        (json!(["keep_going"]), "keep_going"),
        (json!({"timeout_ms": 0}), "nonzero"),
        (json!({"timeout_ms": "soon"}), "soon"),
        (json!({"parallelism": -1}), "-1"),
        (json!({"only": "nothing"}), "no step `nothing`"),
        (json!({"from": "nothing"}), "no step `nothing`"),
        (json!({"from": ""}), "empty"),
        (json!({"only": "test", "from": "build"}), "exclude"),
        (json!({"network": "some"}), "some"),
        (json!({"images": {"ubuntu": "/etc"}}), "/etc"),
        (json!({"images": {"ubuntu": "../x.tar"}}), "../x.tar"),
        (json!({"done": {"build": "../../secrets"}}), "../../secrets"),
    ] {
        let mut body = build();
        body["run_options"] = options;
        let answer = owner.post(BUILDS, &body).await;
        answer.refused(422, "bad_options");
        assert!(answer.text.contains(words), "{words}: {answer:?}");
    }
    let none = owner.get(BUILDS).await.expect(200);
    assert_eq!(none["data"], json!([]));
    server.stop().await;
}
