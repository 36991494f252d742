//! One attempt of a step, with what runs beside it.

use std::sync::Arc;

use futures::future::join_all;
use hm_vm::{Cancel, PodId, VmError};
use tokio::sync::OwnedMutexGuard;

use super::Services;
use super::chain::Alive;
use super::group::Group;
use super::pod::Pod;
use super::service::Unusable;

/// Whether a step's command may begin.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::local) enum Readiness {
    Usable,
    /// It may not, for a service cannot be used; the words say which and why.
    Unready(String),
    /// It was stopped while it waited for services.
    Stopped,
}

/// What runs beside one attempt of a step.
#[derive(Debug)]
pub(in crate::local) struct Beside {
    own: Group,
    /// The chain's services that this attempt has started.
    fresh: Option<Group>,
    chain: Option<OwnedMutexGuard<Alive>>,
    /// All of them could be used.
    usable: bool,
}

impl Services {
    /// Starts the services that do not run yet, all of them at once.
    pub(in crate::local) async fn begin(&self) -> Result<Beside, VmError> {
        let mut chain = match &self.chain {
            Some((chain, _)) => Some(chain.enter().await),
            None => None,
        };
        let pod = match chain.as_ref().and_then(|chain| chain.pod.clone()) {
            Some(pod) => pod,
            None => Pod::open(&self.site, self.pod.clone()).await?,
        };
        let mut fresh = None;
        if let (Some(alive), Some((_, specs))) = (&mut chain, &self.chain) {
            alive.pod = Some(Arc::clone(&pod));
            join_all(alive.groups.iter().map(|group| group.under(self.step_id))).await;
            let started = |name: &str| {
                let mut names = alive.groups.iter().flat_map(Group::names);
                names.any(|other| other == name)
            };
            let missing: Vec<_> = specs
                .iter()
                .filter(|spec| !started(&spec.name))
                .cloned()
                .collect();
            fresh = Some(Group::start(&self.site, &pod, &missing, self.step_id));
        }
        Ok(Beside {
            own: Group::start(&self.site, &pod, &self.own, self.step_id),
            fresh,
            chain,
            usable: false,
        })
    }
}

impl Beside {
    /// The pod that the step's command joins.
    pub(in crate::local) fn pod(&self) -> PodId {
        self.own.pod().clone()
    }

    /// Waits until all that was started can be used.
    pub(in crate::local) async fn ready(&mut self, stop: &Cancel) -> Result<Readiness, VmError> {
        let both = async {
            let fresh = async {
                match &self.fresh {
                    Some(fresh) => fresh.usable().await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(fresh, self.own.usable()).map(|_| ())
        };
        let waited = stop.run_until_terminated(both).await;
        match waited {
            None => Ok(Readiness::Stopped),
            Some(Ok(())) => {
                self.usable = true;
                Ok(Readiness::Usable)
            }
            Some(Err(Unusable::Unready(why))) => Ok(Readiness::Unready(why)),
            Some(Err(Unusable::Broken(error))) => Err(error),
        }
    }

    /// Waits until this machine cannot do its part for one of them.
    pub(in crate::local) async fn broken(&self) -> VmError {
        let all = self.groups().map(|group| Box::pin(group.broken()));
        futures::future::select_all(all).await.0
    }

    /// Stops the step's own services, and the chain's where it does not go `on`; tells all that they wrote. What comes
    /// back is what is to be said of those that ended by themselves.
    pub(in crate::local) async fn end(mut self, on: bool, passed: bool) -> Vec<String> {
        let kept = on && (self.usable || self.fresh.as_ref().is_some_and(Group::is_usable));
        let chain = self.chain.iter().flat_map(|alive| &alive.groups);
        let stopped = chain
            .filter(|_| !on)
            .chain(self.fresh.iter().filter(|_| !kept))
            .chain([&self.own]);
        join_all(stopped.map(Group::stop)).await;
        let notes = match self.usable {
            true => self.groups().flat_map(|group| group.notes(passed)).collect(),
            // Why it never began says it all.
            false => Vec::new(),
        };
        if let Some(alive) = &mut self.chain {
            if !on {
                **alive = Alive::default();
            }
            alive.groups.extend(self.fresh.take().filter(|_| kept));
            join_all(alive.groups.iter().map(Group::pause)).await;
        }
        notes
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        let chain = self.chain.iter().flat_map(|alive| &alive.groups);
        chain.chain(&self.fresh).chain([&self.own])
    }
}
