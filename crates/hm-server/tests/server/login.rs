//! Tokens and logins.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::harness::started;

#[tokio::test]
async fn a_code_and_a_nonce_log_a_command_line_in_once() {
    let (_data, server) = started().await;
    let (owner, nobody) = (server.owner().await, server.anonymous());
    let code = owner.post("/api/v0/auth/cli/code", &json!({})).await.expect(200);
    let code = code["code"].as_str().unwrap();
    assert_eq!(code.len(), 16);
    // As a person types it.
    let typed = json!({"code": format!(" {}-{} ", code[..8].to_lowercase(), &code[8..])});
    let token = nobody.post("/api/v0/auth/cli/redeem", &typed).await.expect(200);
    let user = server
        .with(token["token"].as_str().unwrap())
        .get("/api/v0/user")
        .await
        .expect(200);
    assert_eq!(user["email"], "ada@example.com");
    assert_eq!(user["personal_org_slug"], "acme");
    nobody
        .post("/api/v0/auth/cli/redeem", &typed)
        .await
        .refused(400, "cli_code_invalid");

    let nonce = json!({"nonce": "0123456789abcdef"});
    nobody
        .post("/api/v0/auth/cli/claim", &nonce)
        .await
        .refused(400, "cli_code_invalid");
    owner
        .post("/api/v0/auth/cli/transfer", &json!({"nonce": "short"}))
        .await
        .refused(422, "invalid_nonce");
    owner.post("/api/v0/auth/cli/transfer", &nonce).await.expect(204);
    let code = json!({"code": "0123456789abcdef"});
    nobody
        .post("/api/v0/auth/cli/redeem", &code)
        .await
        .refused(400, "cli_code_invalid");
    let token = nobody.post("/api/v0/auth/cli/claim", &nonce).await.expect(200);
    server
        .with(token["token"].as_str().unwrap())
        .get("/api/v0/user")
        .await
        .expect(200);
    nobody
        .post("/api/v0/auth/cli/claim", &nonce)
        .await
        .refused(400, "cli_code_invalid");
    server.stop().await;
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_can_be_revoked() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    let body = json!({"description": "laptop", "expires_at": Utc::now() + TimeDelta::days(1)});
    let made = owner.post("/api/v0/user/api-tokens", &body).await.expect(201);
    let (token, id) = (
        made["token"].as_str().unwrap(),
        made["api_token"]["id"].as_str().unwrap(),
    );
    server.with(token).get("/api/v0/user").await.expect(200);
    let list = owner.get("/api/v0/user/api-tokens").await;
    assert!(!list.text.contains(token));
    let list = list.expect(200);
    assert_eq!(list["api_tokens"][0]["description"], "laptop");
    assert!(list["api_tokens"][0]["last_used_at"].is_string());
    let stranger = server.login("eve@example.com", "evil").await;
    let path = format!("/api/v0/user/api-tokens/{id}");
    stranger.delete(&path).await.refused(404, "api_token_not_found");
    owner.delete(&path).await.expect(204);
    owner.delete(&path).await.refused(404, "api_token_not_found");
    server
        .with(token)
        .get("/api/v0/user")
        .await
        .refused(401, "invalid_token");
    let past = json!({"description": "x", "expires_at": "2020-01-01T00:00:00Z"});
    owner
        .post("/api/v0/user/api-tokens", &past)
        .await
        .refused(422, "invalid_request");
    server.stop().await;
}

#[tokio::test]
async fn no_secret_is_on_the_disk() {
    let (data, server) = started().await;
    let owner = server.owner().await;
    let agent = server.agent("acme").await;
    let made = owner
        .post("/api/v0/user/api-tokens", &json!({"description": "x"}))
        .await
        .expect(201);
    let code = owner.post("/api/v0/auth/cli/code", &json!({})).await.expect(200);
    let invite = json!({"email": "bob@example.com", "role": "member"});
    let invite = owner
        .post("/api/v0/organizations/acme/invites", &invite)
        .await
        .expect(201);
    let secrets = [
        owner.token.clone().unwrap(),
        agent.token.clone().unwrap(),
        made["token"].as_str().unwrap().to_owned(),
        code["code"].as_str().unwrap().to_owned(),
        invite["token"].as_str().unwrap().to_owned(),
    ];
    server.stop().await;
    let mut looked = 0;
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            looked += 1;
            let bytes = std::fs::read(&path).unwrap();
            for secret in &secrets {
                assert!(
                    !bytes
                        .windows(secret.len())
                        .any(|window| window == secret.as_bytes()),
                    "{path:?}"
                );
            }
        }
    }
    assert!(looked >= 2);
}
