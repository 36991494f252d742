//! Rates and sizes.

use hm_server::Rate;
use reqwest::Method;
use serde_json::json;

use crate::harness::{BUILDS, Running, build, job, log, started};

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
    let answer = owner.patch("/api/v0/user", &name).await;
    assert_eq!(
        answer.refused(413, "request_too_large"),
        "The request's body has more than the 2000 bytes that this server takes."
    );
    let lease = agent.lease().await;
    let event = json!({"kind": "step_log", "line": "x".repeat(3000)});
    let answer = agent.events(&lease, 1, &[event]).await;
    assert_eq!(
        answer.refused(413, "request_too_large"),
        "The body with the events has more than the 2000 bytes that this server takes."
    );
    server.stop().await;
}

#[tokio::test]
async fn event_of_seven_mebibytes_is_refused_by_its_number() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let job = job(&lease, "build");
    let events = [log(&job, "one"), log(&job, &"x".repeat(7 << 20))];
    let message = agent
        .events(&lease, 1, &events)
        .await
        .refused(413, "event_too_large");
    assert!(message.starts_with("event 2 is 73"), "{message}");
    assert!(
        message.contains("more than the 1048576 that this server keeps"),
        "{message}"
    );
    // Nothing of it is kept, and what fits is taken under the same numbers.
    let kept = agent.events(&lease, 1, &events[..1]).await.expect(200);
    assert_eq!(kept["next"], 2);
    server.stop().await;
}

#[tokio::test]
async fn plan_beyond_the_limit_is_refused_unparsed() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| config.limits.plan = 1000).await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut body = build();
    body["source_b64"] = json!("AAAA");
    body["pipeline_ir"] = json!("[".repeat(1001));
    let message = owner.post(BUILDS, &body).await.refused(413, "plan_too_large");
    assert!(
        message.contains("1001 bytes long, more than the 1000 that this server takes"),
        "{message}"
    );
    let sources = data.path().join("blobs").join("sources");
    assert_eq!(std::fs::read_dir(&sources).map_or(0, Iterator::count), 0);
    owner.build(&build()).await;
    server.stop().await;
}

#[tokio::test]
async fn message_about_a_long_value_is_short() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut body = build();
    body["env"] = json!("é".repeat(1 << 20));
    let message = owner.post(BUILDS, &body).await.refused(422, "invalid_request");
    assert!(
        message.len() < 5000 && message.ends_with('…'),
        "{}",
        message.len()
    );
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
