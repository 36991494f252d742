//! The in-memory double's pods: who serves what in which.

use std::collections::BTreeMap;

use super::backend::MemoryBackend;
use crate::{PodId, PodRequest, Result, VmError};

#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<PodId, Pod>);

#[derive(Debug)]
struct Pod {
    request: PodRequest,
    /// How many servers there are of each name.
    servers: BTreeMap<String, u32>,
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

/// A server that serves for as long as this lives.
#[derive(Debug)]
pub(super) struct Server {
    backend: MemoryBackend,
    pod: Option<PodId>,
    name: String,
}

impl Server {
    pub(super) fn begin(backend: &MemoryBackend, pod: Option<&PodId>, name: &str) -> Self {
        let server = Self {
            backend: backend.clone(),
            pod: pod.cloned(),
            name: name.to_owned(),
        };
        server.count(|servers| servers.saturating_add(1));
        server
    }

    /// A network of the command's own has nobody else in it.
    fn count(&self, change: impl FnOnce(u32) -> u32) {
        let mut state = self.backend.lock();
        if let Some(pod) = self.pod.as_ref().and_then(|pod| state.pods.0.get_mut(pod)) {
            let servers = pod.servers.entry(self.name.clone()).or_default();
            *servers = change(*servers);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.count(|servers| servers.saturating_sub(1));
    }
}
