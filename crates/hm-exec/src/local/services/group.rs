//! Services that start at once and stop at once.

use std::sync::Arc;

use futures::future::{join_all, select_all, try_join_all};
use hm_vm::{Cancel, KillReason, PodId, TerminateOnDrop, VmError};
use uuid::Uuid;

use super::pod::Pod;
use super::service::{Service, State, Unusable};
use super::{Site, Spec, words};

/// Services of one pod. Dropping it stops them.
#[derive(Debug)]
pub(super) struct Group {
    services: Vec<Service>,
    cancel: Cancel,
    _stop: TerminateOnDrop,
    pod: Arc<Pod>,
}

impl Group {
    /// Starts all of them.
    pub(super) fn start(site: &Site, pod: &Arc<Pod>, specs: &[Spec], step_id: Uuid) -> Self {
        let cancel = site.halt.killed_with();
        let services = specs
            .iter()
            .map(|spec| Service::start(site, pod, spec, step_id, cancel.child()))
            .collect();
        Self {
            services,
            _stop: cancel.drop_guard(),
            cancel,
            pod: Arc::clone(pod),
        }
    }

    pub(super) fn pod(&self) -> &PodId {
        &self.pod.id
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name.as_str())
    }

    pub(super) fn is_usable(&self) -> bool {
        self.services
            .iter()
            .all(|service| service.state() == State::Usable)
    }

    /// Waits until all of them can be used, or one of them never will.
    pub(super) async fn usable(&self) -> Result<(), Unusable> {
        try_join_all(self.services.iter().map(Service::usable))
            .await
            .map(|_| ())
    }

    /// Waits until this machine cannot do its part for one of them.
    pub(super) async fn broken(&self) -> VmError {
        if self.services.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.services.iter().map(|service| Box::pin(service.broken())))
            .await
            .0
    }

    /// What they write from now on belongs to this step.
    pub(super) async fn under(&self, step_id: Uuid) {
        join_all(self.services.iter().map(|service| service.under(step_id))).await;
    }

    /// Tells what they have written, and nothing more until another step runs.
    pub(super) async fn pause(&self) {
        join_all(self.services.iter().map(Service::pause)).await;
    }

    /// Stops all of them, and tells what they have written to its end.
    pub(super) async fn stop(&self) {
        self.cancel.terminate();
        join_all(self.services.iter().map(Service::gone)).await;
    }

    /// What is to be told of those that ended by themselves.
    pub(super) fn notes(&self, passed: bool) -> Vec<String> {
        let told = |service: &Service| match service.state() {
            State::Ended(outcome) if outcome.killed != Some(KillReason::Canceled) => {
                let fine = passed && outcome.status.code() == 0;
                (!fine).then(|| words::ended(&service.name, &outcome))
            }
            _ => None,
        };
        self.services.iter().filter_map(told).collect()
    }
}
