//! Registers snapshots behind the scheduler's back: writing their records must not delay the next step.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::snapshots::{Left, Snapshots};

/// How many snapshots are registered in one go at most.
const BATCH: usize = 256;

/// Hands snapshots to the registry, in order, and is done when all of them are there.
#[derive(Debug)]
pub(super) struct Keeper {
    queue: Option<mpsc::UnboundedSender<Left>>,
    task: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn new(snapshots: Arc<Snapshots>, grown: Arc<Notify>) -> Self {
        let (queue, mut waiting) = mpsc::unbounded_channel::<Left>();
        let task = tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, BATCH).await > 0 {
                let (batch, snapshots) = (std::mem::take(&mut batch), Arc::clone(&snapshots));
                // Not on a thread that the scheduler may wait for.
                let kept = tokio::task::spawn_blocking(move || keep(&snapshots, &batch)).await;
                if let Err(error) = kept {
                    tracing::warn!(%error, "snapshots could not be registered");
                }
                grown.notify_one();
            }
        });
        Self {
            queue: Some(queue),
            task: Some(task),
        }
    }

    pub(super) fn keep(&self, left: Left) {
        if let Some(queue) = &self.queue {
            // The task ends only after `finish`.
            let _ = queue.send(left);
        }
    }

    /// Waits until everything is registered.
    pub(super) async fn finish(&mut self) {
        self.queue = None;
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "snapshots could not be registered");
        }
    }
}

fn keep(snapshots: &Snapshots, batch: &[Left]) {
    for left in batch {
        if let Err(error) = snapshots.keep(left) {
            tracing::warn!(snapshot = %left.snapshot, %error, "a snapshot could not be registered");
        }
    }
}
