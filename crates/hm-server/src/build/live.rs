//! One lock per build that something happens to, and what is worth remembering meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::{BuildId, JobId};

/// What is remembered about a build between an agent's requests.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Its jobs, once they have been asked for.
    pub(crate) jobs: Option<HashSet<JobId>>,
}

/// The builds that something happens to.
#[derive(Debug, Default)]
pub(crate) struct LiveBuilds {
    builds: Mutex<HashMap<BuildId, Arc<tokio::sync::Mutex<Live>>>>,
}

impl LiveBuilds {
    /// Waits until nothing else happens to the build.
    pub(crate) async fn lock(&self, build: BuildId) -> OwnedMutexGuard<Live> {
        let live = {
            let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(builds.entry(build).or_default())
        };
        live.lock_owned().await
    }

    /// Forgets a build that is over. Who waits for its lock has it still; who comes later gets a new one, which
    /// is as good: nothing happens to a build after its end.
    pub(crate) fn forget(&self, build: BuildId) {
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds.remove(&build);
    }
}
