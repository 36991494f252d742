//! Keeps the disk in order while a run goes on: removes what killed processes left, and holds the budget.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hm_vm::VmBackend;
use hm_vm::registry::{Budget, Registry};
use hm_vm::source::SourceStore;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::snapshots::Snapshots;

/// How long a run goes on before its snapshots are measured, and again after each time.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often, at most, snapshots are flushed to disk.
const FLUSH_INTERVAL: Duration = Duration::from_secs(600);

/// Cleans in the background. What it cannot do is a warning: no step fails for it.
#[derive(Debug)]
pub(super) struct Cleaner {
    vm: Arc<dyn VmBackend>,
    snapshots: Arc<Snapshots>,
    budget: Option<Budget>,
    image_budget: Option<u64>,
    grown: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Cleaner {
    pub(super) fn start(
        vm: Arc<dyn VmBackend>,
        sources: Arc<SourceStore>,
        snapshots: Arc<Snapshots>,
        budget: Option<Budget>,
        image_budget: Option<u64>,
    ) -> Self {
        let (grown, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let task = {
            let (vm, snapshots) = (Arc::clone(&vm), Arc::clone(&snapshots));
            let (grown, stop) = (Arc::clone(&grown), stop.clone());
            tokio::spawn(async move {
                reclaim(vm.as_ref(), sources).await;
                if let Some(budget) = budget {
                    let watch = watch(vm.as_ref(), &snapshots, &budget, &grown);
                    let _ = stop.run_until_cancelled(watch).await;
                }
            })
        };
        Self {
            vm,
            snapshots,
            budget,
            image_budget,
            grown,
            stop,
            task,
        }
    }

    /// What is told that a snapshot has been added.
    pub(super) fn grown(&self) -> Arc<Notify> {
        Arc::clone(&self.grown)
    }

    /// Ends the background work; where the run `added` snapshots, brings them, the cache directories and the images within
    /// their budgets.
    pub(super) async fn finish(self, added: bool) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the cleaning task did not end well");
        }
        if let Err(error) = self.snapshots.touch() {
            tracing::warn!(%error, "the snapshots' last use could not be noted");
        }
        if added && let Some(budget) = &self.budget {
            collect(self.vm.as_ref(), &self.snapshots, budget).await;
            flush(self.snapshots.registry());
        }
        if added
            && let (Some(bytes), Some(images)) = (self.image_budget, self.vm.images())
            && let Err(error) = images.collect(bytes).await
        {
            tracing::warn!(%error, "the images could not be brought within their budget");
        }
    }
}

async fn reclaim(vm: &dyn VmBackend, sources: Arc<SourceStore>) {
    if let Err(error) = vm.reclaim().await {
        tracing::warn!(%error, "what killed runs have left could not be removed");
    }
    match tokio::task::spawn_blocking(move || sources.reclaim()).await {
        Ok(Err(error)) => tracing::warn!(%error, "frozen sources that nobody uses could not be removed"),
        Err(error) => tracing::warn!(%error, "the task that removes frozen sources did not end well"),
        Ok(Ok(())) => {}
    }
}

async fn watch(vm: &dyn VmBackend, snapshots: &Snapshots, budget: &Budget, grown: &Notify) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        grown.notified().await;
        collect(vm, snapshots, budget).await;
    }
}

async fn collect(vm: &dyn VmBackend, snapshots: &Snapshots, budget: &Budget) {
    if let Err(error) = snapshots.registry().collect(vm, budget).await {
        tracing::warn!(%error, "the snapshots could not be brought within their budget");
    }
}

/// Flushes snapshots that have been there for a while, on a thread that no run waits for: those of this run
/// are flushed by a later one, when the kernel has written most of them by itself.
fn flush(registry: &Registry) {
    let stamp = registry.root().join("flushed");
    let last = std::fs::metadata(&stamp).and_then(|metadata| metadata.modified());
    let age = last
        .ok()
        .and_then(|last| SystemTime::now().duration_since(last).ok());
    if age.is_some_and(|age| age < FLUSH_INTERVAL) {
        return;
    }
    let registry = registry.clone();
    let thread = std::thread::Builder::new().name("hm-flush".into());
    let spawned = thread.spawn(move || match registry.mark_synced() {
        Ok(_) => {
            let _ = std::fs::write(stamp, "");
        }
        Err(error) => tracing::warn!(%error, "the snapshots could not be flushed to disk"),
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to flush the snapshots on");
    }
}
