//! A command under way, and one that nobody waits for any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::caches::CacheViews;
use super::client::{self, Supervisor};
use super::protocol::Ending;
use hm_vm::{Cancel, ExecOutcome, KillReason, Result, VmError};

/// Dropping it before its ending has come kills the command and leaves it to its machine's [`Abandoned`].
pub(super) struct Running<'vm> {
    pub supervisor: Arc<Supervisor>,
    pub id: u64,
    pub ending: Option<oneshot::Receiver<Ending>>,
    pub caches: Option<CacheViews>,
    pub abandoned: &'vm Abandoned,
}

impl Running<'_> {
    /// Takes the command one step further to its end.
    pub(super) fn advance(&self, stage: Stage) {
        match stage {
            Stage::Terminate => self.supervisor.terminate(self.id),
            Stage::Kill => self.kill(KillReason::Canceled),
        }
    }

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

/// What is to be done next with a command that is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Terminate,
    Kill,
}

/// The way of a command to its end, as its caller's [`Cancel`] and its grace have it.
#[derive(Debug)]
pub(super) struct Stages {
    cancel: Cancel,
    grace: Duration,
    /// When the grace is over.
    deadline: Option<Instant>,
    killed: bool,
}

impl Stages {
    pub(super) const fn new(cancel: Cancel, grace: Duration) -> Self {
        Self {
            cancel,
            grace,
            deadline: None,
            killed: false,
        }
    }

    /// Whether the end was asked for.
    pub(super) const fn has_begun(&self) -> bool {
        self.killed || self.deadline.is_some()
    }

    /// Waits for the next one; for ever after the last. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Stage {
        if self.killed {
            return std::future::pending().await;
        }
        let stage = match self.deadline {
            None => tokio::select! {
                biased;
                () = self.cancel.killed() => Stage::Kill,
                () = self.cancel.terminated() => Stage::Terminate,
            },
            Some(deadline) => tokio::select! {
                biased;
                () = self.cancel.killed() => Stage::Kill,
                () = tokio::time::sleep_until(deadline) => Stage::Kill,
            },
        };
        if stage == Stage::Kill || self.grace.is_zero() {
            self.killed = true;
            return Stage::Kill;
        }
        let now = Instant::now();
        self.deadline = Some(now.checked_add(self.grace).unwrap_or(now));
        stage
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
