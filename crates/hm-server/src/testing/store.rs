//! The contract of [`Store`].

use std::collections::BTreeMap;

use harmont_client::models::BuildOptions;

use super::at;
use crate::model::{
    Attempt, BuildState, Ending, JobChange, JobState, Login, LoginKind, NewBuild, NewInvite, NewJob,
    NewLogin, NewOrganization, NewPipeline, NewToken, NewUser, Organization, Pipeline, Role, SourceArchive,
    TokenKind, User,
};
use crate::secret::{Secret, SecretHash};
use crate::store::{CancelRequest, MemberChange, Result, Store, StoreError};
use crate::{BuildId, JobId};

pub(super) fn hash(text: &str) -> SecretHash {
    Secret::presented(text).hash()
}

fn taken<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(StoreError::Taken(_)))
}

pub(super) async fn person(store: &dyn Store, email: &str) -> User {
    let new = NewUser {
        email: email.to_owned(),
        name: None,
        personal_org: None,
    };
    store.create_user(new, at(0)).await.expect("a person")
}

pub(super) async fn organization(store: &dyn Store, slug: &str, owner: &User) -> Result<Organization> {
    let new = NewOrganization {
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        url: None,
        owner: owner.id,
    };
    store.create_organization(new, at(1)).await
}

pub(super) async fn pipeline(store: &dyn Store, org: &Organization, slug: &str) -> Result<Pipeline> {
    let new = NewPipeline {
        org: org.id,
        slug: slug.to_owned(),
        name: format!("The {slug}"),
        description: None,
        repository: "r".to_owned(),
        repo_name: Some("a/b".to_owned()),
        default_branch: "main".to_owned(),
        allow_manual: true,
    };
    store.create_pipeline(new, at(2)).await
}

pub(super) fn build(pipeline: &Pipeline) -> NewBuild {
    let first = JobId::new();
    let job = |id, key: &str, depends_on| NewJob {
        id,
        key: key.to_owned(),
        name: key.to_owned(),
        command: "true".to_owned(),
        depends_on,
    };
    NewBuild {
        id: BuildId::new(),
        org: pipeline.org,
        pipeline: pipeline.id,
        branch: "main".to_owned(),
        commit: "c".to_owned(),
        message: None,
        trigger: "api".to_owned(),
        env: BTreeMap::from([("A".to_owned(), "ü".to_owned())]),
        options: BuildOptions {
            only: Some("a".to_owned()),
            ..BuildOptions::default()
        },
        archive: SourceArchive::None,
        plan: "the plan".to_owned(),
        jobs: vec![job(first, "z", vec![]), job(JobId::new(), "a", vec![first])],
        rejected: None,
    }
}

/// Tries a store.
///
/// # Panics
/// When the contract is broken.
pub async fn store(store: &dyn Store) {
    accounts(store).await;
    tokens(store).await;
    builds(store).await;
}

async fn accounts(store: &dyn Store) {
    let (ada, bob) = (person(store, "ada").await, person(store, "bob").await);
    let again = NewUser {
        email: "ada".to_owned(),
        name: None,
        personal_org: None,
    };
    assert!(taken(&store.create_user(again, at(0)).await));
    store.rename_user(ada.id, "Ada").await.expect("a new name");
    assert_eq!(
        store
            .user(ada.id)
            .await
            .expect("it answers")
            .and_then(|user| user.name)
            .as_deref(),
        Some("Ada")
    );
    assert_eq!(
        store.user_by_email("bob").await.expect("it answers"),
        Some(bob.clone())
    );

    let acme = organization(store, "acme", &ada).await.expect("an organization");
    assert!(taken(&organization(store, "acme", &bob).await));
    organization(store, "zeta", &ada).await.expect("an organization");
    assert_eq!(
        store.organization("acme").await.expect("it answers"),
        Some(acme.clone())
    );
    let page = store
        .organizations_of(ada.id, "acme", 5)
        .await
        .expect("it answers");
    assert_eq!(
        page.iter().map(|org| org.slug.as_str()).collect::<Vec<_>>(),
        ["zeta"]
    );

    assert_eq!(
        store
            .set_role(acme.id, ada.id, Role::Admin)
            .await
            .expect("it answers"),
        MemberChange::LastOwner
    );
    assert_eq!(
        store.remove_member(acme.id, ada.id).await.expect("it answers"),
        MemberChange::LastOwner
    );
    assert_eq!(
        store
            .set_role(acme.id, bob.id, Role::Admin)
            .await
            .expect("it answers"),
        MemberChange::NotMember
    );
    let invite = |secret: &str| NewInvite {
        org: acme.id,
        email: "bob".to_owned(),
        role: Role::Member,
        hash: hash(secret),
        expires_at: at(100),
    };
    let first = store.create_invite(invite("i1"), at(0)).await.expect("an invite");
    assert!(taken(&store.create_invite(invite("i2"), at(99)).await));
    assert!(
        store
            .invite(&hash("i1"), at(100))
            .await
            .expect("it answers")
            .is_none()
    );
    assert!(
        !store
            .accept_invite(first.id, bob.id, at(100))
            .await
            .expect("it answers")
    );
    let second = NewInvite {
        expires_at: at(200),
        ..invite("i2")
    };
    let second = store
        .create_invite(second, at(100))
        .await
        .expect("the old one is void");
    assert_eq!(
        store.invite(&hash("i2"), at(150)).await.expect("it answers"),
        Some(second.clone())
    );
    assert!(
        store
            .accept_invite(second.id, bob.id, at(150))
            .await
            .expect("it answers")
    );
    assert!(
        !store
            .accept_invite(second.id, bob.id, at(150))
            .await
            .expect("it answers"),
        "once"
    );
    assert_eq!(
        store.role(acme.id, bob.id).await.expect("it answers"),
        Some(Role::Member)
    );
    assert_eq!(store.members(acme.id).await.expect("it answers").len(), 2);

    assert!(
        !store.delete_user(ada.id).await.expect("it answers"),
        "the last owner stays"
    );
    assert_eq!(
        store
            .set_role(acme.id, bob.id, Role::Owner)
            .await
            .expect("it answers"),
        MemberChange::Done
    );
    assert_eq!(
        store
            .set_role(acme.id, ada.id, Role::Member)
            .await
            .expect("it answers"),
        MemberChange::Done
    );
    assert!(store.delete_user(bob.id).await.is_ok_and(|gone| !gone));
    assert_eq!(
        store.remove_member(acme.id, ada.id).await.expect("it answers"),
        MemberChange::Done
    );
    let eve = person(store, "eve").await;
    assert!(store.delete_user(eve.id).await.expect("it answers"));
    assert!(store.user(eve.id).await.expect("it answers").is_none());
}

async fn tokens(store: &dyn Store) {
    let user = person(store, "tokens").await;
    let new = NewToken {
        kind: TokenKind::Api,
        user: Some(user.id),
        org: None,
        cap: Role::Owner,
        description: Some("x".to_owned()),
        expires_at: Some(at(100)),
        bound: None,
        made_with: None,
        hash: hash("secret"),
    };
    let token = store.create_token(new, at(0)).await.expect("a token");
    assert!(token.is_valid(at(99)) && !token.is_valid(at(100)));
    assert_eq!(
        store.token(&hash("secret")).await.expect("it answers"),
        Some(token.clone())
    );
    assert!(store.token(&hash("other")).await.expect("it answers").is_none());
    store.touch_token(token.id, at(5)).await.expect("it is noted");
    let listed = store.api_tokens_of(user.id).await.expect("it answers");
    assert_eq!(
        listed.iter().map(|token| token.last_used_at).collect::<Vec<_>>(),
        [Some(at(5))]
    );
    let session = NewToken {
        kind: TokenKind::Session,
        user: Some(user.id),
        org: None,
        cap: Role::Owner,
        description: None,
        expires_at: None,
        bound: None,
        made_with: Some(token.id),
        hash: hash("made with it"),
    };
    store.create_token(session, at(5)).await.expect("a token");
    assert!(store.revoke_token(token.id, at(6)).await.expect("it answers"));
    let made = store.token(&hash("made with it")).await.expect("it answers");
    assert!(!made.expect("it is known").is_valid(at(6)));
    assert!(!store.revoke_token(token.id, at(7)).await.expect("it answers"));
    assert!(store.api_tokens_of(user.id).await.expect("it answers").is_empty());
    let revoked = store
        .token(&hash("secret"))
        .await
        .expect("it answers")
        .expect("it is known");
    assert!(!revoked.is_valid(at(8)));

    let login = NewLogin {
        kind: LoginKind::Code,
        hash: hash("code"),
        user: user.id,
        expires_at: at(60),
        bound: Some(at(80)),
    };
    store.create_login(login.clone()).await.expect("a login");
    let take = async |kind, now| {
        store
            .take_login(kind, &hash("code"), at(now))
            .await
            .expect("it answers")
    };
    assert_eq!(take(LoginKind::Nonce, 1).await, None);
    let granted = Login {
        user: user.id,
        bound: Some(at(80)),
    };
    assert_eq!(take(LoginKind::Code, 2).await, Some(granted));
    assert_eq!(take(LoginKind::Code, 3).await, None, "once");
    store.create_login(login).await.expect("a login");
    assert_eq!(take(LoginKind::Code, 60).await, None, "in time");
}

async fn builds(store: &dyn Store) {
    let owner = person(store, "builds").await;
    let org = organization(store, "builds", &owner)
        .await
        .expect("an organization");
    let ci = pipeline(store, &org, "ci").await.expect("a pipeline");
    assert!(taken(&pipeline(store, &org, "ci").await));
    assert_eq!(
        store.pipeline(org.id, "ci").await.expect("it answers"),
        Some(ci.clone())
    );
    for source in ["ci", "The ci"] {
        let found = store
            .pipeline_of_source(org.id, "a/b", source)
            .await
            .expect("it answers");
        assert_eq!(found, Some(ci.clone()));
    }
    assert!(
        store
            .pipeline_of_source(org.id, "a/c", "ci")
            .await
            .expect("it answers")
            .is_none()
    );

    let made = futures::future::join_all((0..8).map(|_| store.create_build(build(&ci), at(3)))).await;
    let mut numbers: Vec<i64> = made
        .iter()
        .map(|made| made.as_ref().expect("a build").number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    let page = store.builds(ci.id, 7, 3).await.expect("it answers");
    assert_eq!(
        page.iter().map(|build| build.number).collect::<Vec<_>>(),
        [6, 5, 4]
    );
    let first = store
        .build(ci.id, 1)
        .await
        .expect("it answers")
        .expect("it is there");
    assert_eq!(
        store.build_by_id(first.id).await.expect("it answers"),
        Some(first.clone())
    );
    assert_eq!(first.env.get("A").map(String::as_str), Some("ü"));
    assert_eq!(first.options.only.as_deref(), Some("a"));
    assert_eq!(
        store.plan(first.id).await.expect("it answers").as_deref(),
        Some("the plan")
    );
    let jobs = store.jobs(first.id).await.expect("it answers");
    assert_eq!(
        jobs.iter().map(|job| job.key.as_str()).collect::<Vec<_>>(),
        ["z", "a"]
    );
    assert_eq!(jobs[1].depends_on, [jobs[0].id]);
    let waiting = store.scheduled_builds(None, 100).await.expect("it answers");
    assert_eq!(waiting.len(), 8);
    let rest = store
        .scheduled_builds(Some(waiting[5].id), 100)
        .await
        .expect("it answers");
    assert_eq!(rest, waiting[6..]);

    attempts(store, first.id, &[jobs[0].id, jobs[1].id]).await;
    canceling(store, waiting[1].id).await;
    let mut rejected = build(&ci);
    rejected.rejected = Some(("bad".to_owned(), "words".to_owned()));
    let rejected = store.create_build(rejected, at(4)).await.expect("a failed build");
    assert_eq!(
        (rejected.state, rejected.error_code.as_deref()),
        (BuildState::Failed, Some("bad"))
    );
}

pub(super) fn attempt(number: i64) -> Attempt {
    Attempt {
        number,
        base_seq: 10,
        runner: hash(&format!("runner {number}")),
    }
}

pub(super) fn ending(state: BuildState) -> Ending {
    Ending {
        state,
        error_code: None,
        error_message: None,
    }
}

async fn attempts(store: &dyn Store, id: BuildId, jobs: &[JobId; 2]) {
    let change = async |number, job, state| {
        let change = JobChange {
            id: job,
            state,
            exit_code: None,
            soft_failed: false,
            message: None,
        };
        store
            .change_jobs(id, number, &[change], at(7))
            .await
            .expect("it answers")
    };
    let state = async || {
        store
            .build_by_id(id)
            .await
            .expect("it answers")
            .expect("it is there")
            .state
    };
    assert!(!change(0, jobs[0], JobState::Running).await, "nobody runs it");
    assert!(
        store
            .begin_attempt(id, &attempt(1), at(5))
            .await
            .expect("it answers")
    );
    assert!(
        !store
            .begin_attempt(id, &attempt(2), at(5))
            .await
            .expect("it answers"),
        "it is taken"
    );
    assert!(store.is_runner(id, &hash("runner 1")).await.expect("it answers"));
    assert!(!store.is_runner(id, &hash("runner 2")).await.expect("it answers"));
    assert!(change(1, jobs[0], JobState::Passed).await);
    assert!(change(1, jobs[0], JobState::Running).await, "said twice");
    assert_eq!(
        store
            .job(jobs[0])
            .await
            .expect("it answers")
            .expect("it is there")
            .state,
        JobState::Passed
    );
    assert!(change(1, jobs[1], JobState::Failed).await);
    assert_eq!(state().await, BuildState::Failing);

    assert!(!store.abandon_attempt(id, 2).await.expect("it answers"));
    assert!(store.abandon_attempt(id, 1).await.expect("it answers"));
    assert!(!store.abandon_attempt(id, 1).await.expect("it answers"), "once");
    assert_eq!(state().await, BuildState::Scheduled);
    let late = store
        .finish_build(id, 1, &ending(BuildState::Passed), at(6))
        .await;
    assert!(!late.expect("it answers"), "nobody runs it");
    assert!(!store.is_runner(id, &hash("runner 1")).await.expect("it answers"));
    assert!(!change(1, jobs[0], JobState::Running).await);
    assert!(
        !store
            .begin_attempt(id, &attempt(1), at(6))
            .await
            .expect("it answers"),
        "numbers grow"
    );
    assert!(
        store
            .begin_attempt(id, &attempt(3), at(6))
            .await
            .expect("it answers")
    );
    let build = store
        .build_by_id(id)
        .await
        .expect("it answers")
        .expect("it is there");
    assert_eq!(
        (build.attempt, build.base_seq, build.started_at),
        (3, 10, Some(at(5)))
    );
    assert_eq!(
        store
            .job(jobs[0])
            .await
            .expect("it answers")
            .expect("it is there")
            .state,
        JobState::Pending
    );

    assert!(
        !store
            .finish_build(id, 1, &ending(BuildState::Failed), at(8))
            .await
            .expect("it answers")
    );
    assert!(change(3, jobs[0], JobState::Passed).await);
    assert!(
        store
            .finish_build(id, 3, &ending(BuildState::Passed), at(8))
            .await
            .expect("it answers")
    );
    assert!(
        !store
            .finish_build(id, 3, &ending(BuildState::Failed), at(9))
            .await
            .expect("it answers"),
        "once"
    );
    assert!(!change(3, jobs[1], JobState::Running).await, "it is over");
    assert_eq!(
        store.cancel_build(id, at(9)).await.expect("it answers"),
        CancelRequest::Nothing
    );
    let build = store
        .build_by_id(id)
        .await
        .expect("it answers")
        .expect("it is there");
    assert_eq!(
        (build.state, build.finished_at),
        (BuildState::Passed, Some(at(8)))
    );
    assert_eq!(
        store
            .job(jobs[1])
            .await
            .expect("it answers")
            .expect("it is there")
            .state,
        JobState::Skipped
    );

    let unsealed = async || {
        store
            .unsealed_builds(10)
            .await
            .expect("it answers")
            .iter()
            .any(|build| build.id == id)
    };
    assert!(unsealed().await);
    store.seal_build(id).await.expect("it is noted");
    assert!(!unsealed().await);
}

async fn canceling(store: &dyn Store, id: BuildId) {
    assert!(
        store
            .begin_attempt(id, &attempt(1), at(5))
            .await
            .expect("it answers")
    );
    assert_eq!(
        store.cancel_build(id, at(6)).await.expect("it answers"),
        CancelRequest::Canceling
    );
    assert_eq!(
        store.cancel_build(id, at(6)).await.expect("it answers"),
        CancelRequest::Nothing
    );
    assert!(
        !store.abandon_attempt(id, 1).await.expect("it answers"),
        "nobody shall run it again"
    );
    assert!(
        store
            .finish_build(id, 1, &ending(BuildState::Canceled), at(7))
            .await
            .expect("it answers")
    );
    let jobs = store.jobs(id).await.expect("it answers");
    assert!(jobs.iter().all(|job| job.state == JobState::Canceled));
}
