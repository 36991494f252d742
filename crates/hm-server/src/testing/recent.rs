//! The contract of [`Store`]: the newest builds of a person's organizations.

use super::at;
use super::store::{build, organization, person, pipeline};
use crate::model::BuildState;
use crate::store::{RecentBuilds, Store};
use crate::{BuildId, UserId};

/// Builds of a person, in any state and however many.
fn of(user: UserId) -> RecentBuilds {
    RecentBuilds {
        user,
        org: None,
        pipeline: None,
        states: Vec::new(),
        before: None,
        limit: 100,
    }
}

/// Tries what a store says of the newest builds.
///
/// # Panics
/// When the contract is broken.
pub async fn recent(store: &dyn Store) {
    let (ada, eve) = (person(store, "recent").await, person(store, "other").await);
    let (mut orgs, mut made) = (Vec::new(), Vec::new());
    for (slug, owner) in [("recent-1", &ada), ("recent-2", &ada), ("other-1", &eve)] {
        let org = organization(store, slug, owner).await.expect("an organization");
        let one = pipeline(store, &org, "one").await.expect("a pipeline");
        let two = pipeline(store, &org, "two").await.expect("a pipeline");
        orgs.push((org.id, one, two));
    }
    // One in each pipeline in turn, so that no order but that of time is right.
    for round in 0..3 {
        for (_, one, two) in &orgs {
            for pipeline in [one, two] {
                let new = build(pipeline);
                made.push(new.id);
                store.create_build(new, at(round)).await.expect("a build");
            }
        }
    }
    let ask = async |wanted: &RecentBuilds| -> Vec<usize> {
        let found = store.recent_builds(wanted).await.expect("it answers");
        let place = |id: BuildId| made.iter().position(|made| *made == id).expect("it was made");
        found.iter().map(|build| place(build.id)).collect()
    };
    assert_eq!(ask(&of(ada.id)).await, [15, 14, 13, 12, 9, 8, 7, 6, 3, 2, 1, 0]);
    assert_eq!(ask(&of(eve.id)).await, [17, 16, 11, 10, 5, 4]);
    assert!(ask(&of(UserId::new())).await.is_empty());

    let page = RecentBuilds {
        limit: 3,
        before: Some(made[13]),
        ..of(ada.id)
    };
    assert_eq!(ask(&page).await, [12, 9, 8]);
    let org = RecentBuilds {
        org: Some(orgs[1].0),
        ..of(ada.id)
    };
    assert_eq!(ask(&org).await, [15, 14, 9, 8, 3, 2]);
    let ci = RecentBuilds {
        pipeline: Some(orgs[1].2.id),
        ..org.clone()
    };
    assert_eq!(ask(&ci).await, [15, 9, 3]);
    for (user, org) in [(ada.id, orgs[2].0), (eve.id, orgs[0].0)] {
        let foreign = RecentBuilds {
            org: Some(org),
            ..of(user)
        };
        assert!(ask(&foreign).await.is_empty());
    }
    let foreign = RecentBuilds {
        pipeline: Some(orgs[2].1.id),
        ..of(ada.id)
    };
    assert!(ask(&foreign).await.is_empty());

    for canceled in [9, 14] {
        store
            .cancel_build(made[canceled], at(9))
            .await
            .expect("it answers");
    }
    let ended = RecentBuilds {
        states: vec![BuildState::Passed, BuildState::Canceled],
        ..of(ada.id)
    };
    assert_eq!(ask(&ended).await, [14, 9]);
    let scheduled = RecentBuilds {
        states: vec![BuildState::Scheduled],
        ..ci
    };
    assert_eq!(ask(&scheduled).await, [15, 3]);
}
