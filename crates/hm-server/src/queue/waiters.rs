//! Agents that wait for a build: each is woken for what it could take, and for nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::OrgId;

#[derive(Debug)]
struct Waiter {
    labels: BTreeSet<String>,
    arrivals: watch::Sender<u64>,
}

/// Who waits for a build.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Mutex<HashMap<OrgId, Vec<Waiter>>>,
}

impl Waiters {
    /// Changes whenever a build arrives that an agent of the organization with these labels may take.
    pub(super) fn watch(&self, org: OrgId, labels: &BTreeSet<String>) -> watch::Receiver<u64> {
        let (arrivals, receiver) = watch::channel(0);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiters = waiting.entry(org).or_default();
        waiters.retain(|waiter| !waiter.arrivals.is_closed());
        waiters.push(Waiter {
            labels: labels.clone(),
            arrivals,
        });
        receiver
    }

    /// A build that wants these labels may be taken.
    pub(super) fn arrived(&self, org: OrgId, wanted: &BTreeSet<String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiters) = waiting.get_mut(&org) else {
            return;
        };
        waiters.retain(|waiter| !waiter.arrivals.is_closed());
        for waiter in waiters.iter().filter(|waiter| wanted.is_subset(&waiter.labels)) {
            waiter
                .arrivals
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        if waiters.is_empty() {
            waiting.remove(&org);
        }
    }
}
