//! What a chain's services are between its steps.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::group::Group;
use super::pod::Pod;

/// The services of one chain: those that were started so far. They stop when the last one who holds this lets go of it.
#[derive(Debug, Default)]
pub(in crate::local) struct Chain(Arc<Mutex<Alive>>);

/// What is alive of a chain's services.
#[derive(Debug, Default)]
pub(super) struct Alive {
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) groups: Vec<Group>,
}

impl Chain {
    /// For one attempt of one step: the steps of a chain run one after another.
    pub(super) async fn enter(&self) -> OwnedMutexGuard<Alive> {
        Arc::clone(&self.0).lock_owned().await
    }
}
