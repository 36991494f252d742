//! Who may use which route: every route against every kind of caller.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;

use crate::harness::{BUILDS, Client, Running, build, started};

/// Who may use a route. This says again what the server says, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Everybody,
    /// Any person's token.
    Person,
    /// A person's token without limits.
    Account,
    Reader,
    Member,
    Admin,
    Agent,
    /// The agent that runs the build, by the build's own token.
    Runner,
}

use Who::{Account, Admin, Agent, Everybody, Member, Person, Reader, Runner};

const ROUTES: &[(&str, &str, Who)] = &[
    ("GET", "/api/v0/ping", Everybody),
    ("GET", "/api/v0/openapi.json", Everybody),
    ("POST", "/api/v0/auth/cli/redeem", Everybody),
    ("POST", "/api/v0/auth/cli/claim", Everybody),
    ("POST", "/api/v0/auth/cli/code", Account),
    ("POST", "/api/v0/auth/cli/transfer", Account),
    ("POST", "/api/v0/auth/logout", Person),
    ("GET", "/api/v0/user", Person),
    ("PATCH", "/api/v0/user", Account),
    ("DELETE", "/api/v0/user", Account),
    ("GET", "/api/v0/user/api-tokens", Account),
    ("POST", "/api/v0/user/api-tokens", Account),
    ("DELETE", "/api/v0/user/api-tokens/{id}", Account),
    ("GET", "/api/v0/organizations", Person),
    ("POST", "/api/v0/organizations", Account),
    ("GET", "/api/v0/organizations/{org}", Reader),
    ("GET", "/api/v0/organizations/{org}/members", Reader),
    ("PATCH", "/api/v0/organizations/{org}/members/{user_id}", Admin),
    ("DELETE", "/api/v0/organizations/{org}/members/{user_id}", Member),
    ("GET", "/api/v0/organizations/{org}/invites", Admin),
    ("POST", "/api/v0/organizations/{org}/invites", Admin),
    ("DELETE", "/api/v0/organizations/{org}/invites/{id}", Admin),
    ("POST", "/api/v0/invites/accept", Account),
    ("POST", "/hm/v1/invites/join", Everybody),
    ("GET", "/hm/v1/organizations/{org}/tokens", Admin),
    ("POST", "/hm/v1/organizations/{org}/tokens", Admin),
    ("DELETE", "/hm/v1/organizations/{org}/tokens/{id}", Admin),
    ("GET", "/api/v0/organizations/{org}/pipelines", Reader),
    ("POST", "/api/v0/organizations/{org}/pipelines", Member),
    ("GET", "/api/v0/organizations/{org}/pipelines/{pipeline}", Reader),
    (
        "GET",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds",
        Reader,
    ),
    (
        "POST",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds",
        Member,
    ),
    ("POST", "/api/v0/organizations/{org}/builds", Member),
    (
        "GET",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}",
        Reader,
    ),
    (
        "PUT",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/cancel",
        Member,
    ),
    (
        "GET",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/log-token",
        Reader,
    ),
    (
        "GET",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/jobs",
        Reader,
    ),
    (
        "GET",
        "/api/v0/organizations/{org}/pipelines/{pipeline}/builds/{number}/jobs/{job_id}",
        Reader,
    ),
    ("GET", "/v0/jobs/{job_id}/logs", Reader),
    ("GET", "/hm/v1/builds/{build_uuid}/events", Reader),
    (
        "GET",
        "/api/v0/internal/builds/{build_uuid}/source.tar.gz",
        Runner,
    ),
    (
        "POST",
        "/hm/v1/organizations/{org}/pipelines/{pipeline}/builds/{number}/retry",
        Member,
    ),
    ("POST", "/agent/v1/lease", Agent),
    ("POST", "/agent/v1/builds/{build_uuid}/heartbeat", Agent),
    ("POST", "/agent/v1/builds/{build_uuid}/events", Agent),
    ("POST", "/agent/v1/builds/{build_uuid}/complete", Agent),
    ("POST", "/agent/v1/builds/{build_uuid}/release", Agent),
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Nobody,
    Garbage,
    Expired,
    Revoked,
    /// The owner of another organization.
    Stranger,
    ReadToken,
    MemberToken,
    AdminToken,
    Owner,
    OwnAgent,
    OtherAgent,
}

const CALLERS: [Caller; 11] = [
    Caller::Nobody,
    Caller::Garbage,
    Caller::Expired,
    Caller::Revoked,
    Caller::Stranger,
    Caller::ReadToken,
    Caller::MemberToken,
    Caller::AdminToken,
    Caller::Owner,
    Caller::OwnAgent,
    Caller::OtherAgent,
];

impl Caller {
    /// A client with a token of its own, since some routes use it up.
    async fn client(self, server: &Running) -> Client {
        let limited = async |role: &str| {
            let body = json!({"description": "x", "role": role});
            let owner = server.owner().await;
            let made = owner
                .post("/hm/v1/organizations/acme/tokens", &body)
                .await
                .expect(201);
            server.with(made["token"].as_str().unwrap())
        };
        match self {
            Self::Nobody => server.anonymous(),
            Self::Garbage => server.with("hm_session_x"),
            Self::Expired => {
                let past = Some(Utc::now() - TimeDelta::seconds(1));
                let secret = server
                    .server
                    .login("ada@example.com", "acme", past)
                    .await
                    .unwrap();
                server.with(secret.reveal())
            }
            Self::Revoked => {
                let client = server.owner().await;
                client.post("/api/v0/auth/logout", &json!({})).await.expect(204);
                client
            }
            Self::Stranger => server.login("eve@example.com", "evil").await,
            Self::ReadToken => limited("read").await,
            Self::MemberToken => limited("member").await,
            Self::AdminToken => limited("admin").await,
            Self::Owner => server.owner().await,
            Self::OwnAgent => server.agent("acme").await,
            Self::OtherAgent => server.agent("evil").await,
        }
    }

    /// The status that says no, or nothing where the route is open.
    fn refusal(self, who: Who, path: &str) -> Option<u16> {
        use Caller::{
            AdminToken, Expired, Garbage, MemberToken, Nobody, OtherAgent, OwnAgent, Owner, ReadToken,
            Revoked, Stranger,
        };
        let in_org = |least: u8| match self {
            Nobody | Garbage | Expired | Revoked => Some(401),
            Stranger => Some(404),
            OwnAgent | OtherAgent => Some(403),
            ReadToken => (least > 0).then_some(403),
            MemberToken => (least > 1).then_some(403),
            AdminToken | Owner => None,
        };
        match (who, self) {
            (Everybody, _) => None,
            (Runner, _) | (_, Nobody | Garbage | Expired | Revoked) => Some(401),
            (Reader, _) => in_org(0),
            (Member, _) => in_org(1),
            (Admin, _) => in_org(2),
            (Person, OwnAgent | OtherAgent) => Some(403),
            (Person, _) | (Account, Owner | Stranger) => None,
            (Account, _) => Some(403),
            (Agent, OwnAgent) => None,
            (Agent, OtherAgent) => path.contains("/builds/").then_some(404),
            (Agent, _) => Some(403),
        }
    }
}

/// Codes that the guard alone answers with.
const NO: [&str; 8] = [
    "invalid_token",
    "agent_token",
    "not_an_agent",
    "limited_token",
    "insufficient_role",
    "organization_not_found",
    "log_not_found",
    "build_not_found",
];

#[tokio::test]
async fn every_route_is_open_to_whom_it_is_for_and_to_nobody_else() {
    let (_data, server) = started().await;
    server.login("eve@example.com", "evil").await;
    let owner = server.owner().await;
    owner.pipeline().await;
    // Ended, so that its streams end.
    let id = owner.build(&build()).await;
    let agent = server.agent("acme").await;
    let lease = agent.lease().await;
    agent.complete(&lease, 0, "passed").await.expect(200);
    let job = owner.get(&format!("{BUILDS}/1/jobs")).await.expect(200)["data"][0]["id"].clone();

    for (method, template, who) in ROUTES {
        let path = template
            .replace("{org}", "acme")
            .replace("{pipeline}", "ci")
            .replace("{number}", "1")
            .replace("{job_id}", job.as_str().unwrap())
            .replace("{build_uuid}", &id)
            .replace("{user_id}", "none")
            .replace("{id}", "none");
        let path = if path.ends_with("/events") && path.starts_with("/agent") {
            path + "?attempt=1&first=1"
        } else {
            path
        };
        for caller in CALLERS {
            let client = caller.client(&server).await;
            let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
            // A body of the right form, where it can do no harm.
            let request = match *method {
                "GET" => request,
                _ => request.json(&json!({"attempt": 1, "agent": "x", "events": 0, "status": "passed"})),
            };
            let answer = client.send(request).await;
            let status = answer.status.as_u16();
            let said = serde_json::from_str::<serde_json::Value>(&answer.text).unwrap_or_default();
            let code = said["error"]["code"].as_str().unwrap_or_default();
            let place = format!("{method} {template} as {caller:?}: {answer:?}");
            assert!(status < 500, "{place}");
            match caller.refusal(*who, template) {
                Some(refusal) => {
                    assert_eq!(status, refusal, "{place}");
                    assert!(NO.contains(&code), "{place}");
                }
                None => assert!(!NO.contains(&code), "{place}"),
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_table_has_every_route() {
    let (_data, server) = started().await;
    let document = server.anonymous().get("/api/v0/openapi.json").await.expect(200);
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.insert((method.to_uppercase(), path.clone()));
        }
    }
    let table: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(table.len(), ROUTES.len(), "a route stands in the table twice");
    assert_eq!(routes, table);
    // What is documented is what is routed: both come from the same handlers. Nothing else answers.
    server
        .anonymous()
        .get("/api/none")
        .await
        .refused(404, "not_found");
    server
        .anonymous()
        .delete("/api/v0/ping")
        .await
        .refused(405, "method_not_allowed");
    server.stop().await;
}

#[tokio::test]
async fn a_log_token_opens_its_own_build_alone() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let mut tokens = Vec::new();
    let mut ids = Vec::new();
    for number in 1..=2 {
        ids.push(owner.build(&build()).await);
        let lease = agent.lease().await;
        agent.complete(&lease, 0, "passed").await.expect(200);
        let token = owner
            .get(&format!("{BUILDS}/{number}/log-token"))
            .await
            .expect(200);
        tokens.push(token["token"].as_str().unwrap().to_owned());
    }
    let nobody = server.anonymous();
    let path = |id: &str, token: &str| format!("/hm/v1/builds/{id}/events?token={token}");
    assert_eq!(nobody.get(&path(&ids[0], &tokens[0])).await.status, 200);
    nobody
        .get(&path(&ids[1], &tokens[0]))
        .await
        .refused(404, "log_not_found");
    nobody
        .get(&path(&ids[0], &format!("{}A", tokens[0])))
        .await
        .refused(401, "log_stream_unauthorized");
    nobody
        .get(&format!("{BUILDS}/1?token={}", tokens[0]))
        .await
        .refused(401, "invalid_token");
    server
        .with(tokens[0].clone())
        .get(&format!("{BUILDS}/1"))
        .await
        .refused(401, "invalid_token");
    server.stop().await;
}
