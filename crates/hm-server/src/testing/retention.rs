//! The contract of [`Store`]: what is kept of builds, and for how long.

use super::at;
use super::store::{attempt, build, ending, hash, organization, person, pipeline};
use crate::UserId;
use crate::model::{
    BuildState, LoginKind, NewInvite, NewLogin, NewToken, Organization, Role, SourceArchive, TokenKind,
};
use crate::store::{Kept, Store};

/// Tries what a store says of what is kept.
///
/// # Panics
/// When the contract is broken.
pub async fn retention(store: &dyn Store) {
    let owner = person(store, "keeper").await;
    let org = organization(store, "keeper", &owner)
        .await
        .expect("an organization");
    let ci = pipeline(store, &org, "ci").await.expect("a pipeline");
    let ended = async |end: i64| {
        let mut new = build(&ci);
        new.archive = SourceArchive::Uploaded {
            bytes: 100,
            sha256: "x".to_owned(),
        };
        let id = new.id;
        store.create_build(new, at(1000)).await.expect("a build");
        assert!(
            store
                .begin_attempt(id, &attempt(1), at(1000))
                .await
                .expect("it answers")
        );
        if end > 0 {
            let passed = ending(BuildState::Passed);
            assert!(
                store
                    .finish_build(id, 1, &passed, at(end))
                    .await
                    .expect("it answers")
            );
            store.seal_build(id).await.expect("it is noted");
        }
        id
    };
    let (third, first) = (ended(1003).await, ended(1001).await);
    let (second, running) = (ended(1002).await, ended(0).await);
    let given_up = async |id| {
        let build = store
            .build_by_id(id)
            .await
            .expect("it answers")
            .expect("it stays");
        (build.log_removed_at, build.source_removed_at)
    };
    let give_up = async |what, until, limit| {
        let done = store.give_up(what, at(until), at(2000), limit).await;
        done.expect("it answers")
    };
    assert_eq!(give_up(Kept::Log, 1000, 10).await, 0);
    assert_eq!(give_up(Kept::Log, 3000, 1).await, 1, "the oldest alone");
    assert_eq!(given_up(first).await, (Some(at(2000)), None));
    assert_eq!(give_up(Kept::Log, 1002, 10).await, 1);
    assert_eq!(given_up(second).await, (Some(at(2000)), None));
    assert_eq!(given_up(third).await, (None, None));
    let removals = store.removals(10).await.expect("it answers");
    assert_eq!(removals.len(), 2);
    for build in [first, second] {
        assert!(removals.contains(&(build, Kept::Log)));
        store.removed(build, Kept::Log).await.expect("it is noted");
    }
    assert!(store.removals(10).await.expect("it answers").is_empty());

    // Four archives of 100 bytes; that of the build that runs cannot go.
    let shed = async |bytes, limit| {
        let done = store.give_up_sources(bytes, at(2001), limit).await;
        done.expect("it answers")
    };
    assert_eq!(shed(400, 10).await, 0);
    assert_eq!(shed(250, 1).await, 1);
    assert_eq!(given_up(first).await.1, Some(at(2001)));
    assert_eq!(shed(250, 10).await, 1);
    assert_eq!(given_up(second).await.1, Some(at(2001)));
    assert_eq!(shed(250, 10).await, 0);
    assert_eq!(shed(0, 10).await, 1);
    assert_eq!(shed(0, 10).await, 0);
    assert_eq!(given_up(running).await, (None, None));
    assert_eq!(store.removals(2).await.expect("it answers").len(), 2);
    assert_eq!(store.removals(10).await.expect("it answers").len(), 3);

    void(store, &org, owner.id).await;
}

async fn void(store: &dyn Store, org: &Organization, user: UserId) {
    let token = async |name: &str, kind, expires_at| {
        let new = NewToken {
            kind,
            user: Some(user),
            org: None,
            cap: Role::Owner,
            description: None,
            expires_at,
            bound: None,
            made_with: None,
            hash: hash(name),
        };
        store.create_token(new, at(0)).await.expect("a token").id
    };
    token("living", TokenKind::Session, Some(at(200))).await;
    token("ever", TokenKind::Api, None).await;
    token("over", TokenKind::Session, Some(at(100))).await;
    token("seen", TokenKind::Api, Some(at(100))).await;
    token("unseen", TokenKind::Api, Some(at(50))).await;
    let revoked = token("revoked", TokenKind::Api, None).await;
    assert!(store.revoke_token(revoked, at(1)).await.expect("it answers"));
    let invite = NewInvite {
        org: org.id,
        email: "late".to_owned(),
        role: Role::Member,
        hash: hash("late"),
        expires_at: at(100),
    };
    store.create_invite(invite, at(0)).await.expect("an invite");
    let login = NewLogin {
        kind: LoginKind::Code,
        hash: hash("typed late"),
        user,
        expires_at: at(100),
        bound: None,
    };
    store.create_login(login).await.expect("a login");
    store.forget_void(at(100), at(50)).await.expect("they go");
    for (name, stays) in [
        ("living", true),
        ("ever", true),
        ("over", false),
        ("seen", true),
        ("unseen", false),
        ("revoked", false),
    ] {
        let found = store.token(&hash(name)).await.expect("it answers");
        assert_eq!(found.is_some(), stays, "{name}");
    }
    // As if it were still before their end.
    assert!(store.invites(org.id, at(1)).await.expect("it answers").is_empty());
    let taken = store
        .take_login(LoginKind::Code, &hash("typed late"), at(1))
        .await;
    assert_eq!(taken.expect("it answers"), None);
}
