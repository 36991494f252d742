//! Rates and sizes.

use hm_server::Rate;
use reqwest::Method;
use serde_json::json;

use crate::harness::{BUILDS, Running, build, started};

#[tokio::test]
async fn too_many_requests_are_refused_by_token_and_by_address() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.rates.token = Rate::new(1, 3);
        config.rates.login = Rate::new(1, 2);
        config.rates.address = Rate::new(1, 4);
    })
    .await;
    let (owner, other) = (server.owner().await, server.owner().await);
    // A second may pass meanwhile, and let one more through.
    let mut refused = 0;
    for _ in 0..50 {
        let answer = owner.get("/api/v0/user").await;
        if answer.status == 429 {
            answer.refused(429, "rate_limited");
            assert!(
                answer.headers["retry-after"]
                    .to_str()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
                    >= 1
            );
            refused += 1;
        }
    }
    assert!(refused > 0);
    other.get("/api/v0/user").await.expect(200);

    let mut guesses = Vec::new();
    for _ in 0..50 {
        let body = json!({"code": "AAAAAAAAAAAAAAAA"});
        guesses.push(
            server
                .anonymous()
                .post("/api/v0/auth/cli/redeem", &body)
                .await
                .status
                .as_u16(),
        );
    }
    assert!(guesses.contains(&400) && guesses.contains(&429), "{guesses:?}");
    let mut guesses = Vec::new();
    for _ in 0..50 {
        guesses.push(
            server
                .with("hm_api_guess")
                .get("/api/v0/user")
                .await
                .status
                .as_u16(),
        );
    }
    assert!(guesses.contains(&401) && guesses.contains(&429), "{guesses:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.limits.source = 1000;
        config.limits.description = 4000;
        config.limits.events = 2000;
        config.limits.request = 2000;
    })
    .await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let mut body = build();
    body["source_b64"] = json!("AAAA".repeat(334));
    owner.post(BUILDS, &body).await.refused(413, "source_too_large");
    body["source_b64"] = json!("AAA*");
    owner.post(BUILDS, &body).await.refused(422, "invalid_request");
    body["source_b64"] = json!("AAAA".repeat(333));
    body["message"] = json!("x".repeat(4000));
    owner.post(BUILDS, &body).await.refused(413, "request_too_large");
    body["message"] = json!(7);
    owner.post(BUILDS, &body).await.refused(422, "invalid_request");
    let sources = data.path().join("blobs").join("sources");
    let left = std::fs::read_dir(&sources).map_or(0, Iterator::count);
    assert_eq!(left, 0);
    body["message"] = json!(null);
    owner.build(&body).await;
    assert_eq!(std::fs::read_dir(&sources).unwrap().count(), 1);

    let name = json!({"name": "x".repeat(3000)});
    owner
        .patch("/api/v0/user", &name)
        .await
        .refused(413, "request_too_large");
    let lease = agent.lease().await;
    let event = json!({"kind": "step_log", "line": "x".repeat(3000)});
    agent
        .events(&lease, 1, &[event])
        .await
        .refused(413, "request_too_large");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_in_json() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    for path in ["/api/v0/user/api-tokens", BUILDS] {
        let send = |body: &'static str, kind: &str| {
            let request = owner
                .request(Method::POST, path)
                .header("content-type", kind.to_owned());
            owner.send(request.body(body))
        };
        send("{", "application/json")
            .await
            .refused(400, "malformed_request");
        send("{}", "text/plain").await.refused(415, "not_json");
        send("{}", "application/json")
            .await
            .refused(422, "invalid_request");
        send("[]", "application/json")
            .await
            .refused(422, "invalid_request");
        send("", "application/json")
            .await
            .refused(400, "malformed_request");
    }
    server.stop().await;
}
