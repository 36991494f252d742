//! Agents that are lost, come back late, or give up.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::harness::{BUILDS, Running, build, end, job, log, queued, sse, start, started};

/// Every agent has been silent for too long.
async fn lose(server: &Running) {
    server
        .server
        .lose_agents(Utc::now() + TimeDelta::hours(1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_agents_build_runs_again_and_its_late_words_are_not_heard() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = owner.build(&build()).await;
    let lost = agent.lease().await;
    let first = job(&lost, "build");
    agent
        .events(
            &lost,
            1,
            &[queued(&first, "build"), start(&first), log(&first, "once")],
        )
        .await
        .expect(200);
    agent
        .post("/agent/v1/lease", &json!({"agent": "two"}))
        .await
        .expect(204);
    lose(&server).await;
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "scheduled"
    );

    agent
        .events(&lost, 4, &[end(&first, 0)])
        .await
        .refused(409, "lease_lost");
    agent
        .complete(&lost, 3, "passed")
        .await
        .refused(409, "lease_lost");
    let again = agent
        .post("/agent/v1/lease", &json!({"agent": "two"}))
        .await
        .expect(200);
    assert_eq!(
        (&again["build_id"], &again["attempt"]),
        (&lost["build_id"], &json!(2))
    );
    assert_eq!(job(&again, "build"), first);
    agent
        .events(&lost, 4, &[end(&first, 0)])
        .await
        .refused(409, "lease_lost");
    agent
        .events(
            &again,
            1,
            &[
                queued(&first, "build"),
                start(&first),
                log(&first, "twice"),
                end(&first, 0),
            ],
        )
        .await
        .expect(200);
    agent
        .complete(&lost, 3, "failed")
        .await
        .refused(409, "lease_lost");
    agent.complete(&again, 4, "passed").await.expect(200);
    agent
        .complete(&lost, 3, "failed")
        .await
        .refused(409, "lease_lost");
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "passed"
    );

    let heard = sse(&owner.get(&format!("/hm/v1/builds/{id}/events")).await.text);
    let records: Vec<Value> = heard
        .iter()
        .map(|(.., data)| serde_json::from_str(data).unwrap())
        .collect();
    let numbers: Vec<_> = records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    let attempts: Vec<_> = records
        .iter()
        .map(|record| record["attempt"].as_i64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 1, 1, 1, 2, 2, 2, 2, 2]);
    assert!(
        records[3]["note"].as_str().unwrap().contains("`one` was lost"),
        "{records:?}"
    );
    let ends = records
        .iter()
        .filter(|record| record["event"]["kind"] == "build_end");
    assert_eq!(ends.count(), 1);
    assert_eq!(records[8]["event"]["kind"], "build_end");

    let heard = sse(&owner.get(&format!("/v0/jobs/{first}/logs")).await.text);
    let history: Value = serde_json::from_str(&heard[0].2).unwrap();
    let lines: Vec<_> = history["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| chunk["content"].as_str().unwrap())
        .collect();
    assert_eq!((lines[0], lines[2]), ("once\n", "twice\n"));
    assert_eq!(heard.last().unwrap().0, "done");
    server.stop().await;
}

#[tokio::test]
async fn a_build_that_loses_every_agent_fails_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| config.agents.losses = 2).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = owner.build(&build()).await;
    for attempt in 1..=3 {
        assert_eq!(agent.lease().await["attempt"], attempt);
        lose(&server).await;
    }
    let failed = owner.get(&format!("{BUILDS}/1")).await.expect(200);
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["error_code"], "agent_lost");
    agent
        .post("/agent/v1/lease", &json!({"agent": "one"}))
        .await
        .expect(204);
    let heard = sse(&owner.get(&format!("/hm/v1/builds/{id}/events")).await.text);
    assert!(heard.last().unwrap().2.contains("build_end"), "{heard:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_build_given_back_costs_it_no_loss() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| config.agents.losses = 0).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    for attempt in 1..=3 {
        let lease = agent.lease().await;
        assert_eq!(lease["attempt"], attempt);
        let path = format!("/agent/v1/builds/{}/release", lease["build_id"].as_str().unwrap());
        let body = json!({"attempt": lease["attempt"], "agent": "one"});
        agent.post(&path, &body).await.expect(204);
        agent.post(&path, &body).await.refused(409, "lease_lost");
    }
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "scheduled"
    );
    server.stop().await;
}

#[tokio::test]
async fn events_sent_again_are_kept_once_and_gaps_are_named() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = owner.build(&build()).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    let lines: Vec<_> = (1..=6).map(|line| log(&step, &line.to_string())).collect();
    agent
        .events(&lease, 2, &lines[1..2])
        .await
        .refused(409, "events_missing");
    agent
        .events(&lease, 0, &lines[..1])
        .await
        .refused(409, "events_missing");
    agent.events(&lease, 1, &lines[..3]).await.expect(200);
    let answer = agent.events(&lease, 2, &lines[1..5]).await.expect(200);
    assert_eq!(answer["next"], 6);
    let answer = agent.events(&lease, 1, &lines[..2]).await.expect(200);
    assert_eq!(answer["next"], 6);
    agent
        .complete(&lease, 6, "passed")
        .await
        .refused(409, "events_missing");
    agent.events(&lease, 6, &lines[5..]).await.expect(200);
    agent.complete(&lease, 6, "passed").await.expect(200);
    let heard = sse(&owner
        .get(&format!("/hm/v1/builds/{id}/events?after=2"))
        .await
        .text);
    let seen: Vec<_> = heard.iter().map(|(_, id, _)| id.as_str()).collect();
    assert_eq!(seen, ["3", "4", "5", "6", "7"]);
    for (number, (.., data)) in (3..=6).zip(&heard) {
        let record: Value = serde_json::from_str(data).unwrap();
        assert_eq!(record["event"]["line"], number.to_string());
    }
    server.stop().await;
}

#[tokio::test]
async fn bad_events_are_refused_whole() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    let foreign = uuid::Uuid::new_v4().to_string();
    for bad in [
        log(&foreign, "x"),
        json!({"kind": "build_end", "exit_code": 0, "duration_ms": 1}),
        json!([]),
    ] {
        agent
            .events(&lease, 1, &[log(&step, "good"), bad])
            .await
            .refused(422, "bad_event");
    }
    let answer = agent.events(&lease, 1, &[log(&step, "good")]).await.expect(200);
    assert_eq!(answer["next"], 2);
    server.stop().await;
}

#[tokio::test]
async fn a_build_goes_to_an_agent_that_has_its_labels() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    let elsewhere = server.login("eve@example.com", "evil").await;
    owner.pipeline().await;
    let mut body = build();
    let mut plan: Value = serde_json::from_str(body["pipeline_ir"].as_str().unwrap()).unwrap();
    plan["labels"] = json!(["gpu", "linux"]);
    body["pipeline_ir"] = json!(plan.to_string());
    owner.build(&body).await;
    let foreign = server.agent("evil").await;
    let all = json!({"agent": "x", "labels": ["gpu", "linux", "arm"]});
    foreign.post("/agent/v1/lease", &all).await.expect(204);
    agent
        .post("/agent/v1/lease", &json!({"agent": "x", "labels": ["gpu"]}))
        .await
        .expect(204);
    let lease = agent.post("/agent/v1/lease", &all).await.expect(200);
    let path = format!(
        "/agent/v1/builds/{}/heartbeat",
        lease["build_id"].as_str().unwrap()
    );
    foreign
        .post(&path, &json!({"attempt": 1}))
        .await
        .refused(404, "build_not_found");
    elsewhere.get(BUILDS).await.refused(404, "organization_not_found");
    server.stop().await;
}

#[tokio::test]
async fn a_waiting_agent_gets_a_build_as_it_comes() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let waiting = {
        let agent = agent.clone();
        tokio::spawn(async move {
            agent
                .post("/agent/v1/lease", &json!({"agent": "x", "wait_seconds": 30}))
                .await
                .expect(200)
        })
    };
    let id = owner.build(&build()).await;
    assert_eq!(waiting.await.unwrap()["build_id"], id);
    server.stop().await;
}

#[tokio::test]
async fn a_restarted_server_goes_on_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |_| {}).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    agent
        .events(&lease, 1, &[start(&step), log(&step, "before")])
        .await
        .expect(200);
    server.stop().await;

    let server = Running::start(&data, |_| {}).await;
    let (owner, agent) = (
        server.with(owner.token.unwrap()),
        server.with(agent.token.unwrap()),
    );
    let answer = agent
        .events(&lease, 2, &[log(&step, "before"), log(&step, "after")])
        .await
        .expect(200);
    assert_eq!(answer["next"], 4);
    agent.complete(&lease, 3, "passed").await.expect(200);
    let path = format!("/hm/v1/builds/{}/events", lease["build_id"].as_str().unwrap());
    let heard = sse(&owner.get(&path).await.text);
    assert_eq!(heard.len(), 4);
    assert_eq!(agent.lease().await["number"], 2);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_was_away_for_long_takes_no_agent_for_lost() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.agents.lease = Duration::from_millis(50);
        config.agents.sweep = Duration::from_secs(3600);
    })
    .await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    server.stop().await;
    tokio::time::sleep(Duration::from_millis(60)).await;

    let server = Running::start(&data, |_| {}).await;
    server.server.lose_agents(Utc::now()).await.unwrap();
    let agent = server.with(agent.token.unwrap());
    agent.complete(&lease, 0, "passed").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_heartbeat_waits_until_the_build_is_canceled_or_lost_and_holds_no_longer_for_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.agents.lease = Duration::from_secs(3600);
        config.agents.poll = Duration::from_secs(3600);
    })
    .await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    owner.build(&build()).await;
    let hold = |lease: &Value, wait: u32| {
        let path = format!(
            "/agent/v1/builds/{}/heartbeat",
            lease["build_id"].as_str().unwrap()
        );
        let (agent, body) = (agent.clone(), json!({"attempt": 1, "wait_seconds": wait}));
        tokio::spawn(async move { agent.post(&path, &body).await })
    };
    let (canceled, lost) = (agent.lease().await, agent.lease().await);
    assert_eq!(
        hold(&canceled, 0).await.unwrap().expect(200),
        json!({"cancel": false, "lease_seconds": 3600})
    );
    assert_eq!(hold(&canceled, 1).await.unwrap().expect(200)["cancel"], false);

    let waiting = [hold(&canceled, 3600), hold(&lost, 3600)];
    let path = format!("{BUILDS}/{}/cancel", canceled["number"]);
    owner.put(&path).await.expect(200);
    let [told, waits] = waiting;
    assert_eq!(told.await.unwrap().expect(200)["cancel"], true);
    assert!(!waits.is_finished());
    assert_eq!(hold(&canceled, 3600).await.unwrap().expect(200)["cancel"], true);

    // It still waits, and yet its lease ends.
    lose(&server).await;
    waits.await.unwrap().refused(409, "lease_lost");
    hold(&lost, 3600).await.unwrap().refused(409, "lease_lost");

    let last = agent.lease().await;
    let body = json!({"attempt": last["attempt"], "wait_seconds": 3600});
    let path = format!(
        "/agent/v1/builds/{}/heartbeat",
        last["build_id"].as_str().unwrap()
    );
    let waits = tokio::spawn(async move { agent.post(&path, &body).await });
    // Long enough for the server to have been asked.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    server.stop().await;
    // A server that stops lets nobody wait.
    assert_eq!(waits.await.unwrap().expect(200)["cancel"], false);
}
