//! A build from its submission to its end.

use serde_json::json;

use crate::harness::{BUILDS, build, end, job, log, plan, queued, sse, start, started};

#[tokio::test]
async fn a_build_goes_from_its_submission_to_its_end() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let created = owner.post(BUILDS, &build()).await.expect(201);
    assert_eq!(created["number"], 1);
    assert_eq!(created["state"], "scheduled");
    assert_eq!(created["pipeline_slug"], "ci");

    let lease = agent.lease().await;
    assert_eq!(lease["plan"], plan());
    assert_eq!((&lease["attempt"], &lease["org"]), (&json!(1), &json!("acme")));
    assert_eq!(lease["repo_name"], "acme/app");
    let (first, second) = (job(&lease, "build"), job(&lease, "test"));
    let events = [
        queued(&first, "build"),
        queued(&second, "test"),
        start(&first),
        log(&first, "made"),
    ];
    let answer = agent.events(&lease, 1, &events).await.expect(200);
    assert_eq!((&answer["next"], &answer["cancel"]), (&json!(5), &json!(false)));

    let seen = owner.get(&format!("{BUILDS}/1")).await.expect(200);
    assert_eq!(seen["state"], "running");
    let jobs = owner.get(&format!("{BUILDS}/1/jobs")).await.expect(200);
    let states: Vec<_> = jobs["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["state"])
        .collect();
    assert_eq!(states, ["running", "scheduled"]);
    assert_eq!(jobs["data"][1]["depends_on"], json!([first]));
    assert_eq!(jobs["data"][0]["name"], "Build");

    let events = [
        end(&first, 0),
        start(&second),
        log(&second, "bad"),
        end(&second, 3),
    ];
    agent.events(&lease, 5, &events).await.expect(200);
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "failing"
    );
    assert_eq!(
        agent.complete(&lease, 8, "failed").await.expect(200)["state"],
        "failed"
    );
    assert_eq!(
        agent.complete(&lease, 8, "failed").await.expect(200)["state"],
        "failed"
    );

    let seen = owner.get(&format!("{BUILDS}/1")).await.expect(200);
    assert_eq!(seen["state"], "failed");
    assert!(seen["finished_at"].is_string());
    let seen = owner.get(&format!("{BUILDS}/1/jobs/{second}")).await.expect(200);
    assert_eq!(
        (&seen["state"], &seen["exit_code"]),
        (&json!("failed"), &json!(3))
    );
    agent
        .post("/agent/v1/lease", &json!({"agent": "one"}))
        .await
        .expect(204);

    let token = owner.get(&format!("{BUILDS}/1/log-token")).await.expect(200);
    let token = token["token"].as_str().unwrap();
    let watched = server
        .anonymous()
        .get(&format!("/v0/jobs/{second}/logs?token={token}"))
        .await;
    assert_eq!(watched.headers["content-type"], "text/event-stream");
    let heard = sse(&watched.text);
    let kinds: Vec<_> = heard.iter().map(|(kind, ..)| kind.as_str()).collect();
    assert_eq!(kinds, ["history", "done"]);
    let history: serde_json::Value = serde_json::from_str(&heard[0].2).unwrap();
    assert_eq!(history["chunks"][0]["content"], "bad\n");
    assert_eq!(history["chunks"][0]["stream_kind"], 0);
    server.stop().await;
}

#[tokio::test]
async fn builds_are_numbered_and_paged() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    for number in 1..=5 {
        assert_eq!(owner.post(BUILDS, &build()).await.expect(201)["number"], number);
    }
    let mut numbers = Vec::new();
    let mut path = format!("{BUILDS}?limit=2");
    loop {
        let page = owner.get(&path).await.expect(200);
        numbers.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|build| build["number"].clone()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("{BUILDS}?limit=2&cursor={cursor}");
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    owner
        .get(&format!("{BUILDS}?cursor=?"))
        .await
        .refused(400, "malformed_request");
    owner
        .get(&format!("{BUILDS}/6"))
        .await
        .refused(404, "build_not_found");
    owner.get(&format!("{BUILDS}/x")).await.expect(404);
    server.stop().await;
}

#[tokio::test]
async fn a_build_is_found_by_its_repository() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut body = build();
    body["repo_name"] = json!("acme/app");
    body["source_slug"] = json!("ci");
    let made = owner
        .post("/api/v0/organizations/acme/builds", &body)
        .await
        .expect(201);
    assert_eq!(made["pipeline_slug"], "ci");
    body["source_slug"] = json!("deploy");
    let answer = owner.post("/api/v0/organizations/acme/builds", &body).await;
    answer.refused(404, "pipeline_not_found");
    server.stop().await;
}

#[tokio::test]
async fn a_bad_plan_makes_a_failed_build() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let mut body = build();
    body["pipeline_ir"] = json!("{\"version\": \"0\"}");
    owner.post(BUILDS, &body).await.refused(422, "plan_rejected");
    let failed = owner.get(&format!("{BUILDS}/1")).await.expect(200);
    assert_eq!(
        (&failed["state"], &failed["error_code"]),
        (&json!("failed"), &json!("plan_rejected"))
    );
    body["pipeline_ir"] = json!(" ");
    owner.post(BUILDS, &body).await.refused(422, "plan_missing");
    agent
        .post("/agent/v1/lease", &json!({"agent": "one"}))
        .await
        .expect(204);
    server.stop().await;
}

#[tokio::test]
async fn a_canceled_build_ends_at_once_or_when_its_agent_says_so() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let waiting = owner.build(&build()).await;
    assert_eq!(
        owner.put(&format!("{BUILDS}/1/cancel")).await.expect(200)["state"],
        "canceled"
    );
    assert_eq!(
        owner.put(&format!("{BUILDS}/1/cancel")).await.expect(200)["state"],
        "canceled"
    );
    agent
        .post("/agent/v1/lease", &json!({"agent": "one"}))
        .await
        .expect(204);
    let heard = sse(&owner.get(&format!("/hm/v1/builds/{waiting}/events")).await.text);
    assert!(heard.last().unwrap().2.contains("\"exit_code\":130"), "{heard:?}");

    owner.build(&build()).await;
    let lease = agent.lease().await;
    assert_eq!(
        owner.put(&format!("{BUILDS}/2/cancel")).await.expect(200)["state"],
        "canceling"
    );
    let heartbeat = format!(
        "/agent/v1/builds/{}/heartbeat",
        lease["build_id"].as_str().unwrap()
    );
    let answer = agent
        .post(&heartbeat, &json!({"attempt": lease["attempt"]}))
        .await
        .expect(200);
    assert_eq!(answer["cancel"], true);
    agent.complete(&lease, 0, "canceled").await.expect(200);
    assert_eq!(
        owner.get(&format!("{BUILDS}/2")).await.expect(200)["state"],
        "canceled"
    );
    let jobs = owner.get(&format!("{BUILDS}/2/jobs")).await.expect(200);
    assert_eq!(jobs["data"][0]["state"], "canceled");
    server.stop().await;
}

#[tokio::test]
async fn the_source_archive_goes_to_the_agent_of_the_attempt_as_it_came() {
    use base64::Engine as _;
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let archive: Vec<u8> = (0..20_000_000_u32)
        .map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut body = build();
    body["source_b64"] = json!(base64::engine::general_purpose::STANDARD.encode(&archive));
    body["source_sha256"] = json!("0".repeat(64));
    owner
        .post(BUILDS, &body)
        .await
        .refused(422, "source_digest_mismatch");
    body.as_object_mut().unwrap().remove("source_sha256");
    owner.build(&body).await;
    let lease = agent.lease().await;
    assert_eq!(lease["source"]["bytes"], archive.len());
    let url = lease["source"]["url"].as_str().unwrap();
    let path = &url[url.find("/api").unwrap()..];
    let runner = server.with(lease["source"]["token"].as_str().unwrap());
    let response = runner.request(reqwest::Method::GET, path).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/gzip");
    assert!(response.bytes().await.unwrap() == archive);
    agent.get(path).await.refused(401, "invalid_token");
    owner.get(path).await.refused(401, "invalid_token");
    agent.complete(&lease, 0, "passed").await.expect(200);
    runner.get(path).await.refused(401, "invalid_token");
    server.stop().await;
}
