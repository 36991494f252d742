//! Clients that take their time, that say they are somebody else, and tokens that would outlive what made them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hm_server::{Rate, ServerError};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, Running, build, job, log, started};

/// Says this much and nothing more. What the server answers until it closes the connection.
async fn says(server: &Running, words: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // A connection that is reset is closed too.
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn nobody_keeps_a_connection_by_saying_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.patience.head = Duration::from_millis(300);
        config.patience.body = Duration::from_millis(300);
    })
    .await;
    let token = server.owner().await.token.unwrap();
    assert_eq!(says(&server, "").await, "");
    let head = says(&server, "GET /api/v0/ping HTTP/1.1\r\nhost: x\r\n").await;
    assert!(!head.contains("200"), "{head}");
    let whole = says(&server, "GET /api/v0/ping HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
    for path in ["/api/v0/organizations", "/api/v0/organizations/acme/builds"] {
        let words = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: 1000\r\n\r\n{{\"na"
        );
        let answer = says(&server, &words).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn nobody_keeps_a_log_waiting_by_taking_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| config.patience.stall = Duration::from_millis(500)).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = owner.build(&build()).await;
    let lease = agent.lease().await;
    let line = log(&job(&lease, "build"), &"x".repeat(60_000));
    for first in 0..4 {
        let lines = vec![line.clone(); 100];
        agent.events(&lease, first * 100 + 1, &lines).await.expect(200);
    }
    agent.complete(&lease, 400, "passed").await.expect(200);

    // Far more than the system keeps for a client that does not read.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /hm/v1/builds/{id}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        owner.token.as_ref().unwrap()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // Once the server has waited for so long, it waits no more, however long the client takes.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    let text = String::from_utf8_lossy(&heard);
    assert!(text.starts_with("HTTP/1.1 200"), "{}", heard.len());
    assert!(!text.contains("build_end"), "all {} bytes came", heard.len());
    server.stop().await;
}

async fn guess(server: &Running, header: &str, address: &str) -> u16 {
    let client = server.anonymous();
    let request = client.request(Method::POST, "/api/v0/auth/cli/redeem");
    let request = request.header(header, address);
    let answer = client
        .send(request.json(&json!({"code": "AAAAAAAAAAAAAAAA"})))
        .await;
    answer.status.as_u16()
}

#[tokio::test]
async fn guesses_are_counted_by_the_address_that_a_trusted_proxy_tells() {
    let data = tempfile::tempdir().unwrap();
    let few = |config: &mut hm_server::ServerConfig| config.rates.login = Rate::new(1, 5);
    let server = Running::start(&data, few).await;
    let mut answers = Vec::new();
    for guesser in 0..50 {
        answers.push(guess(&server, "x-forwarded-for", &format!("192.0.2.{guesser}")).await);
    }
    assert!(answers.contains(&429), "nobody is believed: {answers:?}");
    server.stop().await;

    let server = Running::start(&data, |config| {
        few(config);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for header in ["x-forwarded-for", "forwarded"] {
        let told = |address: &str| match header {
            "forwarded" => format!("for={address}"),
            _ => address.to_owned(),
        };
        for guesser in 0..50 {
            let address = told(&format!("192.0.2.{guesser}"));
            let answer = guess(&server, header, &address).await;
            assert!(header == "forwarded" || answer == 400, "{guesser}: {answer}");
        }
        // One client, which writes other addresses before the one that its proxy adds.
        let mut answers = Vec::new();
        for guesser in 0..50 {
            let spoofed = format!(
                "{}, {}",
                told(&format!("203.0.113.{guesser}")),
                told("198.51.100.7")
            );
            answers.push(guess(&server, header, &spoofed).await);
        }
        assert!(answers.contains(&429), "{header}: {answers:?}");
    }
    server.stop().await;
}

fn moment(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

async fn key(maker: &Client, expires_at: Option<DateTime<Utc>>) -> Value {
    let body = json!({"description": "a key", "expires_at": expires_at});
    maker.post("/api/v0/user/api-tokens", &body).await.expect(201)
}

#[tokio::test]
async fn what_a_key_makes_ends_with_it() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    let soon = Utc::now() + TimeDelta::hours(2);
    let ever = key(&owner, None).await;
    assert_eq!(ever["api_token"]["expires_at"], Value::Null);
    let made = key(&owner, Some(soon)).await;
    let key_of = |made: &Value| server.with(made["token"].as_str().unwrap());
    let (ever, ending) = (key_of(&ever), key_of(&made));
    let soon = moment(&made["api_token"]["expires_at"]);

    // A session that the key made is bound as the key is.
    let code = ending.post("/api/v0/auth/cli/code", &json!({})).await.expect(200);
    let redeemed = server
        .anonymous()
        .post("/api/v0/auth/cli/redeem", &json!({"code": code["code"]}))
        .await
        .expect(200);
    let nonce = json!({"nonce": "a nonce of sufficient length"});
    ending.post("/api/v0/auth/cli/transfer", &nonce).await.expect(204);
    let claimed = server
        .anonymous()
        .post("/api/v0/auth/cli/claim", &nonce)
        .await
        .expect(200);
    for maker in [&ending, &key_of(&redeemed), &key_of(&claimed)] {
        let none = key(maker, None).await;
        assert_eq!(moment(&none["api_token"]["expires_at"]), soon);
        let earlier = soon - TimeDelta::hours(1);
        let made = key(maker, Some(earlier)).await;
        assert_eq!(moment(&made["api_token"]["expires_at"]), earlier);
        for (path, body) in [
            ("/api/v0/user/api-tokens", json!({"description": "x"})),
            (
                "/hm/v1/organizations/acme/tokens",
                json!({"description": "x", "role": "agent"}),
            ),
        ] {
            let mut body = body;
            body["expires_at"] = json!(soon + TimeDelta::seconds(1));
            maker.post(path, &body).await.refused(422, "expires_too_late");
        }
        let agent = json!({"description": "x", "role": "agent"});
        let agent = maker
            .post("/hm/v1/organizations/acme/tokens", &agent)
            .await
            .expect(201);
        assert_eq!(moment(&agent["org_token"]["expires_at"]), soon);
    }
    // Nothing bounds these.
    for maker in [&owner, &ever] {
        let agent = json!({"description": "x", "role": "agent"});
        let agent = maker
            .post("/hm/v1/organizations/acme/tokens", &agent)
            .await
            .expect(201);
        assert_eq!(agent["org_token"]["expires_at"], Value::Null);
    }
    // A limited key makes nothing wider than itself.
    let narrow = json!({"description": "x", "role": "admin"});
    let narrow = owner
        .post("/hm/v1/organizations/acme/tokens", &narrow)
        .await
        .expect(201);
    let narrow = key_of(&narrow);
    for path in [
        "/api/v0/user/api-tokens",
        "/api/v0/auth/cli/code",
        "/api/v0/auth/cli/transfer",
    ] {
        narrow
            .post(path, &json!({"description": "x"}))
            .await
            .refused(403, "limited_token");
    }
    server.stop().await;
}

#[tokio::test]
async fn organizations_are_not_called_like_paths() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    for name in [
        "api",
        "HM",
        "Agent",
        "v0",
        "login",
        "logout",
        "cli",
        "assets",
        "favicon.ico",
    ] {
        let body = json!({"name": name});
        owner
            .post("/api/v0/organizations", &body)
            .await
            .refused(422, "slug_reserved");
    }
    owner
        .post("/api/v0/organizations", &json!({"name": "APIs"}))
        .await
        .expect(201);
    for name in ["api", "Not A Slug", ""] {
        let refused = server.server.login("eve@example.com", name, None).await;
        assert!(matches!(refused, Err(ServerError::OrganizationName(_))), "{name}");
    }
    server.stop().await;
}
