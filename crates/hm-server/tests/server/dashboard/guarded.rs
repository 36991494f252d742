//! Who may see which page: every page against every kind of visitor.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;

use super::browser::Browser;
use crate::harness::{BUILDS, Running, build, started};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Everybody,
    Person,
    Account,
    Reader,
    Member,
}

use Who::{Account, Everybody, Member, Person, Reader};

/// This says again what the server says, on purpose.
const PAGES: &[(&str, &str, Who)] = &[
    ("GET", "/login", Everybody),
    ("POST", "/login", Everybody),
    ("GET", "/assets/none.css", Everybody),
    ("GET", "/cli?nonce=0123456789abcdef", Account),
    ("POST", "/cli", Account),
    ("GET", "/", Person),
    ("GET", "/acme", Reader),
    ("GET", "/acme/ci", Reader),
    ("GET", "/acme/ci/builds/1", Reader),
    ("GET", "/acme/ci/builds/1/live", Reader),
    ("GET", "/acme/ci/builds/1/jobs/{job}/lines", Reader),
    ("GET", "/acme/ci/builds/1/jobs/{job}/log", Reader),
    ("POST", "/acme/ci/builds/1/cancel", Member),
    ("POST", "/acme/ci/builds/1/retry", Member),
    // Last, for it ends the session.
    ("POST", "/logout", Person),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visitor {
    Nobody,
    Garbage,
    Expired,
    Revoked,
    Agent,
    Stranger,
    ReadToken,
    MemberToken,
    Owner,
}

const VISITORS: [Visitor; 9] = [
    Visitor::Nobody,
    Visitor::Garbage,
    Visitor::Expired,
    Visitor::Revoked,
    Visitor::Agent,
    Visitor::Stranger,
    Visitor::ReadToken,
    Visitor::MemberToken,
    Visitor::Owner,
];

impl Visitor {
    async fn browser(self, server: &Running) -> Browser {
        let limited = async |role: &str| {
            let body = json!({"description": "x", "role": role});
            let made = server
                .owner()
                .await
                .post("/hm/v1/organizations/acme/tokens", &body)
                .await
                .expect(201);
            Browser::logged_in(server, made["token"].as_str().unwrap()).await
        };
        let with = |token: &str| {
            let mut browser = Browser::new(server);
            browser.cookie = Some(format!("hm_session={token}"));
            browser
        };
        match self {
            Self::Nobody => Browser::new(server),
            Self::Garbage => with("hm_session_x"),
            Self::Expired => {
                let past = Some(Utc::now() - TimeDelta::seconds(1));
                with(
                    server
                        .server
                        .login("ada@example.com", "acme", past)
                        .await
                        .unwrap()
                        .reveal(),
                )
            }
            Self::Revoked => {
                let browser = Browser::owner(server).await;
                assert_eq!(browser.post("/logout", &[]).await.status, 303);
                browser
            }
            Self::Agent => with(&server.agent("acme").await.token.unwrap()),
            Self::Stranger => {
                Browser::logged_in(
                    server,
                    &server.login("eve@example.com", "evil").await.token.unwrap(),
                )
                .await
            }
            Self::ReadToken => limited("read").await,
            Self::MemberToken => limited("member").await,
            Self::Owner => Browser::owner(server).await,
        }
    }

    /// The status that says no, or nothing where the page is open. 303 sends to the login.
    fn refusal(self, who: Who) -> Option<u16> {
        use Visitor::{Agent, Expired, Garbage, MemberToken, Nobody, Owner, ReadToken, Revoked, Stranger};
        match (who, self) {
            (Everybody, _) => None,
            (_, Nobody | Garbage | Expired | Revoked | Agent) => Some(303),
            (Reader | Member, Stranger) => Some(404),
            (Account, ReadToken | MemberToken) | (Member, ReadToken) => Some(403),
            (Person | Account, Stranger | Owner)
            | (Person | Reader, ReadToken | MemberToken | Owner)
            | (Member, MemberToken | Owner) => None,
        }
    }
}

#[tokio::test]
async fn every_page_is_open_to_whom_it_is_for_and_to_nobody_else() {
    let (_data, server) = started().await;
    server.login("eve@example.com", "evil").await;
    let owner = server.owner().await;
    owner.pipeline().await;
    owner.build(&build()).await;
    let agent = server.agent("acme").await;
    let lease = agent.lease().await;
    agent.complete(&lease, 0, "passed").await.expect(200);
    let job = owner.get(&format!("{BUILDS}/1/jobs")).await.expect(200)["data"][0]["id"].clone();
    for visitor in VISITORS {
        for (method, path, who) in PAGES {
            let path = path.replace("{job}", job.as_str().unwrap());
            let browser = visitor.browser(&server).await;
            let answer = match *method {
                "GET" => browser.get(&path).await,
                _ => browser.post(&path, &[("nonce", "0123456789abcdef")]).await,
            };
            let place = format!("{method} {path} as {visitor:?}: {answer:?}");
            let status = answer.status.as_u16();
            let to_login = answer
                .headers
                .get("location")
                .is_some_and(|to| to.to_str().unwrap().starts_with("/login?next="));
            match visitor.refusal(*who) {
                Some(303) => assert!(status == 303 && to_login, "{place}"),
                Some(refusal) => assert_eq!(status, refusal, "{place}"),
                None => assert!(
                    !to_login && (status < 400 || path == "/assets/none.css" || path == "/login"),
                    "{place}"
                ),
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_another_sites_page_sends_changes_nothing() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    owner.build(&build()).await;
    let browser = Browser::owner(&server).await;
    for path in [
        "/acme/ci/builds/1/cancel",
        "/acme/ci/builds/1/retry",
        "/logout",
        "/cli",
        "/login",
    ] {
        for headers in [
            vec![],
            vec![("origin", "https://evil.test")],
            vec![("origin", "null")],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
        ] {
            let mut request = browser.request(Method::POST, path).body("");
            request = request.header("content-type", "application/x-www-form-urlencoded");
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let answer = browser.send(request).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}: {answer:?}");
            assert!(answer.text.contains("not sent by a page of this server"));
        }
    }
    assert_eq!(
        owner.get(&format!("{BUILDS}/1")).await.expect(200)["state"],
        "scheduled"
    );
    assert_eq!(
        owner.get(BUILDS).await.expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(browser.get("/").await.status, 200, "the session is there still");
    server.stop().await;
}

#[tokio::test]
async fn every_page_forbids_what_is_not_ours_and_the_api_speaks_json() {
    let (_data, server) = started().await;
    server.owner().await.pipeline().await;
    let browser = Browser::owner(&server).await;
    for path in [
        "/",
        "/login",
        "/acme",
        "/acme/ci",
        "/acme/nothing",
        "/no/such/page/at/all",
    ] {
        let answer = browser.get(path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        // What the policy forbids would not work.
        for forbidden in [
            "<style",
            " style=",
            " onclick=",
            "<script>",
            "http://",
            "https://",
        ] {
            let text = answer
                .text
                .replace("http://www.w3.org/2000/svg", "")
                .replace("https://example.com/", "");
            assert!(!text.contains(forbidden), "{path} has {forbidden}: {text}");
        }
    }
    for path in [
        "/api",
        "/api/v0/none",
        "/hm/v1",
        "/agent/none/at/all",
        "/v0/none",
        "/api/v0",
    ] {
        browser.get(path).await.refused(404, "not_found");
    }
    let missing = browser.get("/acme/nothing").await;
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("<h1>Not found</h1>"));
    server.stop().await;
}

#[tokio::test]
async fn a_file_is_named_by_its_content_and_kept_for_good() {
    let (_data, server) = started().await;
    let browser = Browser::new(&server);
    let page = browser.page("/login").await;
    let mut found = 0;
    for part in page.split('"').filter(|part| part.starts_with("/assets/")) {
        let answer = browser.get(part).await;
        assert_eq!(answer.status, 200, "{part}");
        assert!(
            answer.headers["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        let hash = blake3::hash(answer.text.as_bytes()).to_hex();
        assert!(part.contains(&hash[..12]), "{part}");
        found += 1;
    }
    assert!(found >= 2, "{page}");
    assert_eq!(browser.get("/assets/base-000000000000.css").await.status, 404);
    server.stop().await;
}
