//! One lock per build that something happens to, what is worth remembering meanwhile, and who waits to hear of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedMutexGuard, watch};

use crate::{BuildId, JobId};

/// Builds whose locks are kept although nobody has them. More are there only while so much happens at one time.
const IDLE: usize = 1024;

/// What is remembered about a build between an agent's requests.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Its jobs, once they have been asked for.
    pub(crate) jobs: Option<HashSet<JobId>>,
    /// Which attempt's events have last extended its lease, and when.
    pub(crate) extended: Option<(i64, Instant)>,
}

/// The builds that something happens to.
#[derive(Debug, Default)]
pub(crate) struct LiveBuilds {
    builds: Mutex<HashMap<BuildId, Arc<tokio::sync::Mutex<Live>>>>,
    /// The builds whose agents wait to hear whether to stop.
    watched: Mutex<HashMap<BuildId, watch::Sender<()>>>,
}

impl LiveBuilds {
    /// Waits until nothing else happens to the build.
    pub(crate) async fn lock(&self, build: BuildId) -> OwnedMutexGuard<Live> {
        let live = {
            let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
            if builds.len() >= IDLE && !builds.contains_key(&build) {
                // An agent that speaks of a build long over leaves a lock behind.
                builds.retain(|_, live| Arc::strong_count(live) > 1);
            }
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

    /// From now on whoever has this hears when the build's agent may have to stop.
    pub(crate) fn watch(&self, build: BuildId) -> Watching<'_> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = watched.entry(build).or_insert_with(|| watch::Sender::new(()));
        Watching {
            builds: self,
            build,
            told: Some(sender.subscribe()),
        }
    }

    /// The build's agent may have to stop.
    pub(crate) fn tell(&self, build: BuildId) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = watched.get(&build) {
            sender.send_replace(());
        }
    }
}

/// Waits to hear of a build. Nothing of it stays when it is dropped.
#[derive(Debug)]
pub(crate) struct Watching<'a> {
    builds: &'a LiveBuilds,
    build: BuildId,
    told: Option<watch::Receiver<()>>,
}

impl Watching<'_> {
    /// Waits for the next time; what was told since the last is heard at once.
    pub(crate) async fn heard(&mut self) {
        if let Some(told) = &mut self.told {
            // The sender stays as long as there is a receiver.
            let _ = told.changed().await;
        }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut watched = self.builds.watched.lock().unwrap_or_else(PoisonError::into_inner);
        self.told = None;
        if watched
            .get(&self.build)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            watched.remove(&self.build);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_its_build_alone_and_leaves_nothing() {
        let builds = LiveBuilds::default();
        let (build, other) = (BuildId::new(), BuildId::new());
        builds.tell(build);
        let (mut one, mut two, mut third) = (builds.watch(build), builds.watch(build), builds.watch(other));
        assert!(one.heard().now_or_never().is_none());
        builds.tell(build);
        builds.tell(build);
        for watching in [&mut one, &mut two] {
            assert!(watching.heard().now_or_never().is_some());
            assert!(watching.heard().now_or_never().is_none());
        }
        assert!(third.heard().now_or_never().is_none());
        drop(one);
        builds.tell(build);
        assert!(two.heard().now_or_never().is_some());
        drop((two, third));
        assert!(builds.watched.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn locks_that_nobody_has_do_not_add_up() {
        let builds = LiveBuilds::default();
        let held = BuildId::new();
        let _alone = builds.lock(held).await;
        for _ in 0..3 * IDLE {
            drop(builds.lock(BuildId::new()).await);
        }
        let kept = builds.builds.lock().unwrap();
        assert!(kept.len() <= IDLE && kept.contains_key(&held));
    }
}
