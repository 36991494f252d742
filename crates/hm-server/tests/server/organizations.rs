//! Organizations, members and invites.

use serde_json::json;

use crate::harness::started;

const ACME: &str = "/api/v0/organizations/acme";

#[tokio::test]
async fn an_invited_person_joins_and_can_be_promoted_and_removed() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    let invites = format!("{ACME}/invites");
    let body = json!({"email": "Bob@Example.com", "role": "member"});
    let invite = owner.post(&invites, &body).await.expect(201);
    owner.post(&invites, &body).await.refused(422, "already_invited");
    let listed = owner.get(&invites).await.expect(200);
    assert_eq!(listed["data"][0]["email"], "bob@example.com");
    assert!(listed["data"][0]["token"].is_null());

    let eve = server.login("eve@example.com", "evil").await;
    let token = json!({"token": invite["token"]});
    eve.post("/api/v0/invites/accept", &token)
        .await
        .refused(422, "invalid_invite");
    let bob = server.login("bob@example.com", "bobs").await;
    let nobody = server.anonymous();
    nobody
        .post("/hm/v1/invites/join", &token)
        .await
        .refused(422, "account_exists");
    let joined = bob.post("/api/v0/invites/accept", &token).await.expect(200);
    assert_eq!(joined["slug"], "acme");
    bob.post("/api/v0/invites/accept", &token)
        .await
        .refused(422, "invalid_invite");

    let members = bob.get(&format!("{ACME}/members")).await.expect(200);
    let roles: Vec<_> = members["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["role"])
        .collect();
    assert_eq!(roles, ["owner", "member"]);
    let [ada, bobs] = [0, 1].map(|place| {
        let id = members["data"][place]["user_uuid"].as_str().unwrap();
        format!("{ACME}/members/{id}")
    });
    bob.patch(&ada, &json!({"role": "member"}))
        .await
        .refused(403, "insufficient_role");
    bob.delete(&ada).await.refused(403, "insufficient_role");
    bob.get(&invites).await.refused(403, "insufficient_role");
    owner.patch(&bobs, &json!({"role": "admin"})).await.expect(200);
    bob.patch(&bobs, &json!({"role": "owner"}))
        .await
        .refused(403, "insufficient_role");
    bob.delete(&ada).await.refused(403, "insufficient_role");
    owner
        .patch(&ada, &json!({"role": "admin"}))
        .await
        .refused(409, "last_owner");
    owner.delete(&ada).await.refused(409, "last_owner");
    owner.delete("/api/v0/user").await.refused(409, "last_owner");
    owner
        .patch(&bobs, &json!({"role": "king"}))
        .await
        .refused(422, "invalid_request");
    bob.delete(&bobs).await.expect(204);
    bob.get(ACME).await.refused(404, "organization_not_found");
    server.stop().await;
}

#[tokio::test]
async fn somebody_new_joins_by_an_invite_alone() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    let body = json!({"email": "new@example.com", "role": "admin"});
    let invite = owner.post(&format!("{ACME}/invites"), &body).await.expect(201);
    let join = json!({"token": invite["token"], "name": "New"});
    let joined = server
        .anonymous()
        .post("/hm/v1/invites/join", &join)
        .await
        .expect(201);
    let new = server.with(joined["token"].as_str().unwrap());
    assert_eq!(new.get("/api/v0/user").await.expect(200)["name"], "New");
    new.get(&format!("{ACME}/invites")).await.expect(200);
    server
        .anonymous()
        .post("/hm/v1/invites/join", &join)
        .await
        .refused(422, "invalid_invite");

    let body = json!({"email": "other@example.com", "role": "member"});
    let invite = owner.post(&format!("{ACME}/invites"), &body).await.expect(201);
    let path = format!("{ACME}/invites/{}", invite["id"].as_str().unwrap());
    owner.delete(&path).await.expect(204);
    owner.delete(&path).await.refused(404, "invite_not_found");
    let join = json!({"token": invite["token"]});
    server
        .anonymous()
        .post("/hm/v1/invites/join", &join)
        .await
        .refused(422, "invalid_invite");
    server.stop().await;
}

#[tokio::test]
async fn organizations_and_pipelines_are_made_found_and_paged() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    for name in ["Bolts & Nuts", "Cogs"] {
        owner
            .post("/api/v0/organizations", &json!({"name": name}))
            .await
            .expect(201);
    }
    owner
        .post("/api/v0/organizations", &json!({"name": "cogs"}))
        .await
        .refused(422, "slug_taken");
    owner
        .post("/api/v0/organizations", &json!({"name": "…"}))
        .await
        .refused(422, "invalid_request");
    let page = owner.get("/api/v0/organizations?limit=2").await.expect(200);
    assert_eq!(page["data"][1]["slug"], "bolts-nuts");
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = owner
        .get(&format!("/api/v0/organizations?limit=2&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(
        (&page["data"][0]["slug"], &page["next_cursor"]),
        (&json!("cogs"), &json!(null))
    );

    owner.pipeline().await;
    let made = owner.get(&format!("{ACME}/pipelines/ci")).await.expect(200);
    assert_eq!(
        (&made["repo_name"], &made["visibility"]),
        (&json!("acme/app"), &json!("private"))
    );
    let body = json!({"name": "CI", "repository": "x", "default_branch": "main"});
    owner
        .post(&format!("{ACME}/pipelines"), &body)
        .await
        .refused(422, "slug_taken");
    owner
        .get(&format!("{ACME}/pipelines/cd"))
        .await
        .refused(404, "pipeline_not_found");
    assert_eq!(
        owner.get(&format!("{ACME}/pipelines")).await.expect(200)["data"][0]["slug"],
        "ci"
    );
    let renamed = owner
        .patch("/api/v0/user", &json!({"name": " Ada Lovelace "}))
        .await
        .expect(200);
    assert_eq!(renamed["name"], "Ada Lovelace");
    server.stop().await;
}
