//! The in-memory double's pods: who serves what in which.

use std::collections::BTreeMap;

use crate::{PodId, PodRequest, Result, VmError};

#[derive(Debug, Default)]
pub(super) struct Pods(pub(super) BTreeMap<PodId, Pod>);

#[derive(Debug)]
pub(super) struct Pod {
    request: PodRequest,
    /// How many servers there are of each name.
    pub(super) servers: BTreeMap<String, u32>,
}

impl Pods {
    pub(super) fn add(&mut self, id: PodId, request: PodRequest) {
        let servers = BTreeMap::new();
        self.0.insert(id, Pod { request, servers });
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: &PodId) -> bool {
        self.0.remove(id).is_some()
    }

    pub(super) fn open(&self) -> Vec<PodRequest> {
        self.0.values().map(|pod| pod.request.clone()).collect()
    }

    /// Refuses a pod that is not open.
    pub(super) fn find(&self, id: &PodId) -> Result<()> {
        if self.0.contains_key(id) {
            return Ok(());
        }
        Err(VmError::Setup(format!("the pod {} is not open", id.0)))
    }

    /// Whether a server answers in a pod, at a host's name.
    pub(super) fn answers(&self, pod: Option<&PodId>, name: &str, host: &str) -> bool {
        let Some(pod) = pod.and_then(|pod| self.0.get(pod)) else {
            return false;
        };
        let known = host == "localhost" || pod.request.hosts.iter().any(|own| own == host);
        known && pod.servers.get(name).is_some_and(|servers| *servers > 0)
    }
}
