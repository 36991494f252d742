//! The contract of [`Queue`].

use std::collections::BTreeSet;

use super::at;
use crate::queue::{Fence, Lease, LeaseRequest, NewItem, Queue};
use crate::{BuildId, OrgId};

fn labels(labels: &[&str]) -> BTreeSet<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

async fn lease(queue: &dyn Queue, org: OrgId, has: &[&str], until: i64) -> Option<Lease> {
    let request = LeaseRequest {
        org,
        agent: "agent".to_owned(),
        labels: labels(has),
        now: at(until - 10),
        until: at(until),
    };
    queue.lease(&request).await.expect("it answers")
}

async fn enqueue(queue: &dyn Queue, org: OrgId, wants: &[&str], now: i64) -> BuildId {
    let build = BuildId::new();
    let item = || NewItem {
        build,
        org,
        labels: labels(wants),
    };
    queue.enqueue(item(), at(now)).await.expect("it is queued");
    queue
        .enqueue(item(), at(now + 100))
        .await
        .expect("it is queued already");
    build
}

fn fences(leases: &[Lease]) -> Vec<Fence> {
    leases.iter().map(|lease| lease.fence).collect()
}

/// Tries a queue.
///
/// # Panics
/// When the contract is broken.
pub async fn queue(queue: &dyn Queue) {
    let (org, other) = (OrgId::new(), OrgId::new());
    let mut arrivals = queue.arrivals(org, &labels(&[]));
    let mut others = queue.arrivals(other, &labels(&[]));
    assert!(lease(queue, org, &[], 10).await.is_none());
    let first = enqueue(queue, org, &[], 0).await;
    arrivals.changed().await.expect("an arrival is told");
    let second = enqueue(queue, org, &["gpu", "arm"], 1).await;
    assert!(
        !arrivals.has_changed().expect("the queue is there"),
        "it cannot take that"
    );
    assert!(
        !others.has_changed().expect("the queue is there"),
        "it is another organization's"
    );
    let waits = queue
        .waiting(second)
        .await
        .expect("it answers")
        .expect("it waits");
    assert_eq!((waits.labels, waits.ahead), (labels(&["gpu", "arm"]), 1));
    assert!(
        queue
            .wanted(at(0))
            .await
            .expect("it answers")
            .contains(&(org, labels(&[])))
    );
    let wanted = labels(&["gpu", "arm"]);
    assert!(
        queue
            .wanted(at(1))
            .await
            .expect("it answers")
            .contains(&(org, wanted.clone()))
    );
    for noted in [vec![second], vec![]] {
        assert_eq!(
            queue.note(org, &wanted, at(1), 10).await.expect("it answers"),
            noted
        );
    }
    assert!(
        !queue
            .wanted(at(1))
            .await
            .expect("it answers")
            .contains(&(org, wanted))
    );
    let third = enqueue(queue, org, &[], 2).await;

    // Each build once, to its organization, to who has its labels, the oldest first.
    assert!(lease(queue, other, &["gpu", "arm"], 10).await.is_none());
    let one = lease(queue, org, &["gpu"], 10).await.expect("one waits");
    assert_eq!(
        (one.fence, one.losses),
        (
            Fence {
                build: first,
                attempt: 1
            },
            0
        )
    );
    assert_eq!(one.agent, "agent");
    let three = lease(queue, org, &["gpu"], 20).await.expect("one waits");
    assert_eq!(three.fence.build, third);
    assert!(lease(queue, org, &["gpu"], 10).await.is_none());
    let two = lease(queue, org, &["arm", "gpu", "x"], 30)
        .await
        .expect("one waits");
    assert_eq!(two.fence.build, second);
    assert!(
        !queue.remove(first).await.expect("it answers"),
        "what is leased stays"
    );

    // Time passes.
    assert!(queue.expired(at(9), 10).await.expect("it answers").is_empty());
    assert_eq!(
        fences(&queue.expired(at(25), 10).await.expect("it answers")),
        [one.fence, three.fence]
    );
    assert_eq!(queue.expired(at(25), 1).await.expect("it answers").len(), 1);
    assert!(
        queue.extend(one.fence, at(40)).await.expect("it answers"),
        "late is not lost"
    );
    assert_eq!(
        fences(&queue.expired(at(25), 10).await.expect("it answers")),
        [three.fence]
    );

    // Nobody could say anything for a while, or the clock is another one.
    queue.renew_all(at(28)).await.expect("it answers");
    assert!(queue.expired(at(27), 10).await.expect("it answers").is_empty());
    assert_eq!(queue.expired(at(28), 10).await.expect("it answers").len(), 3);
    let leased = queue.leased(three.fence).await.expect("it answers");
    assert_eq!(leased.map(|lease| lease.until), Some(at(28)));
    assert!(queue.waiting(third).await.expect("it answers").is_none());

    // Lost: back in its place, with a larger number, and the old one is good for nothing.
    arrivals.mark_unchanged();
    assert!(queue.requeue(three.fence, at(0)).await.expect("it answers"));
    assert!(arrivals.has_changed().expect("the queue is there"));
    for _ in 0..2 {
        assert!(!queue.requeue(three.fence, at(0)).await.expect("it answers"));
        assert!(!queue.release(three.fence, at(0)).await.expect("it answers"));
        assert!(queue.leased(three.fence).await.expect("it answers").is_none());
        assert!(!queue.extend(three.fence, at(50)).await.expect("it answers"));
        assert!(!queue.complete(three.fence).await.expect("it answers"));
    }
    let fourth = enqueue(queue, org, &[], 3).await;
    let again = lease(queue, org, &[], 50).await.expect("one waits");
    assert_eq!(
        (again.fence, again.losses),
        (
            Fence {
                build: third,
                attempt: 2
            },
            1
        )
    );
    assert!(!queue.complete(three.fence).await.expect("it answers"));

    // Given back: no loss, and nobody takes it before its time.
    assert!(queue.release(again.fence, at(60)).await.expect("it answers"));
    let next = lease(queue, org, &[], 69).await.expect("the one behind it");
    assert_eq!(next.fence.build, fourth);
    assert!(queue.release(next.fence, at(900)).await.expect("it answers"));
    queue.wake(at(59)).await.expect("it answers");
    arrivals.mark_unchanged();
    queue.wake(at(60)).await.expect("it answers");
    assert!(arrivals.has_changed().expect("the queue is there"));
    let again = lease(queue, org, &[], 70).await.expect("one waits");
    assert_eq!((again.fence.attempt, again.losses, again.returns), (3, 1, 1));

    // Once.
    assert!(queue.complete(again.fence).await.expect("it answers"));
    assert!(!queue.complete(again.fence).await.expect("it answers"));
    assert!(!queue.requeue(again.fence, at(0)).await.expect("it answers"));
    assert!(queue.remove(fourth).await.expect("it answers"));
    assert!(!queue.remove(fourth).await.expect("it answers"));
    assert!(lease(queue, org, &["gpu", "arm"], 50).await.is_none());

    // Many at once: each build to one.
    others.mark_unchanged();
    for now in 0..20 {
        enqueue(queue, other, &[], now).await;
    }
    let all = futures::future::join_all((0..30).map(|_| lease(queue, other, &[], 90))).await;
    let builds: BTreeSet<BuildId> = all.iter().flatten().map(|lease| lease.fence.build).collect();
    assert_eq!((all.iter().flatten().count(), builds.len()), (20, 20));
}
