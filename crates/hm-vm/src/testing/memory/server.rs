//! A server in a pod of the in-memory double.

use super::state::MemoryBackend;
use crate::PodId;

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
