//! A command under way, and one that nobody waits for any more.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::caches::CacheViews;
use super::client::{self, Supervisor};
use super::protocol::Ending;
use crate::{ExecOutcome, KillReason, Result, VmError};

/// Dropping it before its ending has come kills the command and leaves it to its machine's [`Abandoned`].
pub(super) struct Running<'vm> {
    pub supervisor: Arc<Supervisor>,
    pub id: u64,
    pub ending: Option<oneshot::Receiver<Ending>>,
    pub caches: Option<CacheViews>,
    pub abandoned: &'vm Abandoned,
}

impl Running<'_> {
    pub(super) fn kill(&self, reason: KillReason) {
        self.supervisor.kill(self.id, reason);
    }

    pub(super) async fn ending(&mut self) -> Result<ExecOutcome> {
        let Some(receiver) = self.ending.as_mut() else {
            return Err(client::gone());
        };
        let ending = receiver.await.map_err(|_| client::gone());
        self.ending = None;
        match ending? {
            Ending::Ran {
                status,
                killed,
                notes,
            } => Ok(ExecOutcome {
                status,
                killed,
                notes,
            }),
            Ending::NotSetUp(reason) => Err(VmError::Setup(reason)),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(ending) = self.ending.take() {
            self.kill(KillReason::Canceled);
            self.abandoned.lock().push((ending, self.caches.take()));
        }
    }
}

type Left = (oneshot::Receiver<Ending>, Option<CacheViews>);

/// Commands that were killed because nobody waits for them: they may write until they have ended.
#[derive(Debug, Default)]
pub(super) struct Abandoned(Mutex<Vec<Left>>);

impl Abandoned {
    /// Waits until none of them runs any more.
    pub(super) async fn settle(&self) {
        let left = std::mem::take(&mut *self.lock());
        for (ending, caches) in left {
            // An error is the supervisor's end, which was theirs too.
            let _ = ending.await;
            drop(caches);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
