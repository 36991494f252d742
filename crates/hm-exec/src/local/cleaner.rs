//! Keeps the disk in order while a run goes on: removes what killed processes left, and holds the budget.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hm_snapshots::{Budget, Registry};
use hm_source::SourceStore;
use hm_vm::{Cancel, VmBackend};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::patience::in_patience;
use super::snapshots::Snapshots;

/// How long a run goes on before its snapshots are measured, and again after each time.
const INTERVAL: Duration = Duration::from_secs(5);

/// After so long without a flush one is made however much there is to write.
const FLUSH_INTERVAL: Duration = Duration::from_secs(600);

/// A flush of less than this many bytes takes no time that anybody notices.
const SOON_FLUSHED: u64 = 64 << 20;

/// The most that a run's end waits for a flush.
const LONGEST_FLUSH: Duration = Duration::from_secs(2);

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
    /// Flushes what earlier runs left.
    flush: JoinHandle<()>,
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
        let flush = flush(snapshots.registry());
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
            flush,
        }
    }

    /// What is told that a snapshot has been added.
    pub(super) fn grown(&self) -> Arc<Notify> {
        Arc::clone(&self.grown)
    }

    /// Ends the background work; where the run `added` snapshots, brings them, the cache directories and the images within
    /// their budgets. Once the run is canceled, nobody waits for any of that: a later run does it.
    pub(super) async fn finish(self, added: bool, canceled: &Cancel) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if in_patience(canceled, self.clean(added)).await.is_none() {
            abort.abort();
        }
    }

    async fn clean(self, added: bool) {
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the cleaning task did not end well");
        }
        if let Err(error) = self.snapshots.touch() {
            tracing::warn!(%error, "the snapshots' last use could not be noted");
        }
        if added && let Some(budget) = &self.budget {
            collect(self.vm.as_ref(), &self.snapshots, budget).await;
        }
        flushed(self.flush).await;
        if added {
            flushed(flush(self.snapshots.registry())).await;
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

/// Waits for a flush, but not for long.
async fn flushed(flush: JoinHandle<()>) {
    // What takes longer is flushed by a later run.
    if let Ok(Err(error)) = tokio::time::timeout(LONGEST_FLUSH, flush).await {
        tracing::warn!(%error, "the task that flushes snapshots did not end well");
    }
}

/// Flushes the snapshots that may not have reached the disk, in the background. A snapshot that was not flushed before the
/// machine restarts is lost, so this is done at every run's start and end; where much waits to be written, only every now
/// and then, for a process cannot even end before its flush.
fn flush(registry: &Registry) -> JoinHandle<()> {
    let registry = registry.clone();
    tokio::task::spawn_blocking(move || {
        let stamp = registry.root().join("flushed");
        let last = std::fs::metadata(&stamp).and_then(|metadata| metadata.modified());
        let age = last
            .ok()
            .and_then(|last| SystemTime::now().duration_since(last).ok());
        let is_lately = age.is_some_and(|age| age < FLUSH_INTERVAL);
        if is_lately && unwritten().is_none_or(|bytes| bytes > SOON_FLUSHED) {
            return;
        }
        match registry.mark_synced() {
            Ok(0) => {}
            Ok(_) => {
                // Without it the next run flushes again.
                let _ = std::fs::write(stamp, "");
            }
            Err(error) => tracing::warn!(%error, "the snapshots could not be flushed to disk"),
        }
    })
}

/// How many bytes all programs have written that have not reached a disk, where the system says so.
fn unwritten() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let sum = kibibytes("Dirty:")?.saturating_add(kibibytes("Writeback:")?);
    Some(sum.saturating_mul(1024))
}
