//! Coming in and going out.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::browser::Browser;
use crate::harness::{Running, started};
use hm_server::Rate;

#[tokio::test]
async fn a_token_makes_a_session_of_its_own() {
    let (_data, server) = started().await;
    let token = server.owner().await.token.unwrap();
    let mut browser = Browser::new(&server);
    let answer = browser.get("/acme/ci?state=failed").await;
    assert_eq!(
        answer.headers["location"],
        "/login?next=%2Facme%2Fci%3Fstate%3Dfailed"
    );
    let form = browser.page("/login?next=%2Facme%2Fci%3Fstate%3Dfailed").await;
    assert!(
        form.contains(r#"name="next" value="/acme/ci?state=failed""#),
        "{form}"
    );

    let answer = browser
        .post("/login", &[("token", &format!(" {token} ")), ("next", "/acme")])
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &"/acme".parse().unwrap())
    );
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    for part in ["hm_session=", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&token) && !cookie.contains("Secure"), "{cookie}");
    browser.keep(&answer);
    assert!(browser.page("/").await.contains("ada@example.com"));

    let answer = browser.post("/logout", &[]).await;
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("hm_session=; ")
    );
    assert_eq!(browser.get("/").await.status, 303, "its session has ended");
    server.with(token).get("/api/v0/user").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_cookie_is_for_https_alone_where_the_server_is() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| {
        config.public_url = "https://ci.example.com".to_owned();
        config.app_url.clone_from(&config.public_url);
    })
    .await;
    let token = server.owner().await.token.unwrap();
    let answer = Browser::new(&server).post("/login", &[("token", &token)]).await;
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .ends_with("; Secure")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_no_stronger_than_its_token_and_ends_with_it() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    owner.build(&crate::harness::build()).await;
    let other = json!({"name": "Other"});
    owner.post("/api/v0/organizations", &other).await.expect(201);
    let end = Utc::now() + TimeDelta::hours(1);
    let body = json!({"description": "x", "role": "read", "expires_at": end});
    let made = owner
        .post("/hm/v1/organizations/acme/tokens", &body)
        .await
        .expect(201);
    let mut browser = Browser::new(&server);
    let answer = browser
        .post("/login", &[("token", made["token"].as_str().unwrap())])
        .await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    let age = cookie
        .split("Max-Age=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    assert!((3500..=3600).contains(&age.parse::<i64>().unwrap()), "{cookie}");
    browser.keep(&answer);
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(
        !page.contains("id=\"cancel\"") && !page.contains("id=\"retry\""),
        "{page}"
    );
    assert_eq!(browser.get("/other").await.status, 404);
    assert!(!browser.page("/").await.contains("/other"));
    let session = browser.cookie.unwrap().split_once('=').unwrap().1.to_owned();
    // The cookie's secret is a token as any other: it can do no more elsewhere.
    server
        .with(&session)
        .post("/api/v0/user/api-tokens", &json!({"description": "x"}))
        .await
        .refused(403, "limited_token");
    server.stop().await;
}

#[tokio::test]
async fn whoever_revokes_a_token_ends_its_browsers_too() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    let made = owner
        .post("/api/v0/user/api-tokens", &json!({"description": "lost"}))
        .await
        .expect(201);
    let browser = Browser::logged_in(&server, made["token"].as_str().unwrap()).await;
    browser.page("/").await;
    let id = made["api_token"]["id"].as_str().unwrap();
    let path = format!("/api/v0/user/api-tokens/{id}");
    owner.delete(&path).await.expect(204);
    let answer = browser.get("/").await;
    assert_eq!(answer.status, 303, "{answer:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_code_logs_in_once() {
    let (_data, server) = started().await;
    let code = server
        .owner()
        .await
        .post("/api/v0/auth/cli/code", &json!({}))
        .await
        .expect(200);
    let code = code["code"].as_str().unwrap();
    let mut browser = Browser::new(&server);
    let form = browser.page(&format!("/login?code={code}")).await;
    assert!(form.contains(&format!(r#"name="code" value="{code}""#)), "{form}");
    assert_eq!(browser.get("/").await.status, 303, "looking is not logging in");
    let answer = browser.post("/login", &[("code", code)]).await;
    assert_eq!(answer.status, 303);
    browser.keep(&answer);
    browser.page("/").await;
    let again = Browser::new(&server).post("/login", &[("code", code)]).await;
    assert_eq!(again.status, 401);
    assert!(again.text.contains("used up") && !again.headers.contains_key("set-cookie"));
    server.stop().await;
}

#[tokio::test]
async fn bad_tokens_are_refused_and_seldom_heard() {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |config| config.rates.login = Rate::new(1, 5)).await;
    let agent = {
        server.owner().await;
        server.agent("acme").await.token.unwrap()
    };
    let browser = Browser::new(&server);
    for token in ["hm_api_guess", agent.as_str(), ""] {
        let answer = browser
            .post("/login", &[("token", token), ("next", "//evil.test")])
            .await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.text.contains("role=\"alert\"") && !answer.text.contains("evil.test"));
        assert!(token.is_empty() || !answer.text.contains(token));
    }
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(
            browser
                .post("/login", &[("token", "guess")])
                .await
                .status
                .as_u16(),
        );
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    server.stop().await;
}

#[tokio::test]
async fn nobody_is_sent_to_another_site() {
    let (_data, server) = started().await;
    let token = server.owner().await.token.unwrap();
    for next in [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "javascript:alert(1)",
        "/\r\nset-cookie: a=b",
    ] {
        let answer = Browser::new(&server)
            .post("/login", &[("token", &token), ("next", next)])
            .await;
        assert_eq!(answer.headers["location"], "/", "{next:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_command_line_is_let_in_by_who_sees_its_code() {
    let (_data, server) = started().await;
    let nonce = "a nonce of the command line's <b>";
    let browser = Browser::owner(&server).await;
    let page = browser
        .page("/cli?nonce=a%20nonce%20of%20the%20command%20line%27s%20%3Cb%3E")
        .await;
    assert!(page.contains(&harmont_client::login::check_code(nonce)), "{page}");
    assert!(!page.contains("line's <b>"));
    let claim = json!({"nonce": nonce});
    let nobody = server.anonymous();
    nobody
        .post("/api/v0/auth/cli/claim", &claim)
        .await
        .refused(400, "cli_code_invalid");
    let answer = browser.post("/cli", &[("nonce", nonce)]).await;
    assert!(
        answer.status == 200 && answer.text.contains("id=\"cli-done\""),
        "{answer:?}"
    );
    let token = nobody.post("/api/v0/auth/cli/claim", &claim).await.expect(200);
    server
        .with(token["token"].as_str().unwrap())
        .get("/api/v0/user")
        .await
        .expect(200);
    assert_eq!(browser.post("/cli", &[("nonce", "short")]).await.status, 422);
    assert_eq!(browser.get("/cli").await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn a_browsers_session_watches_and_does_nothing_else_with_the_api() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let id = owner.build(&crate::harness::build()).await;
    let browser = Browser::owner(&server).await;
    browser.post("/acme/ci/builds/1/cancel", &[]).await;
    let path = format!("/hm/v1/builds/{id}/events");
    assert_eq!(browser.get(&path).await.status, 200);
    browser.get("/api/v0/user").await.refused(401, "invalid_token");
    let stranger = server.login("eve@example.com", "evil").await.token.unwrap();
    Browser::logged_in(&server, &stranger)
        .await
        .get(&path)
        .await
        .refused(404, "log_not_found");
    server.stop().await;
}
