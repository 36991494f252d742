//! What the scheduler costs per step: plans of `true` on machines that do nothing, from `start` to the outcome.
//!
//! `cargo bench -p hm-exec --bench scheduler [STEPS...]`
#![expect(clippy::print_stdout, reason = "a benchmark tells its numbers")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use hm_exec::testing::{PlanWriter, StepWriter, request};
use hm_exec::{BuildStatus, ExecutionBackend, LocalBackend, Plan, RunOptions};
use hm_source::Source;
use hm_vm::{
    Cancel, ExecOutcome, ExecRequest, ExitStatus, ImageReference, OutputChunk, ResolvedImage, Result,
    Snapshot, SnapshotCheck, SnapshotId, Terminal, Usage, Vm, VmBackend,
};
use tokio::sync::mpsc;

/// Machines that do nothing.
#[derive(Debug, Clone, Default)]
struct Nothing {
    taken: Arc<AtomicU64>,
}

#[async_trait]
impl VmBackend for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn default_image(&self) -> ImageReference {
        ImageReference::new(ImageReference::HOST)
    }

    async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage> {
        Ok(ResolvedImage {
            reference: image.clone(),
            digest: String::new(),
        })
    }

    async fn create(&self, _image: &ResolvedImage) -> Result<Box<dyn Vm>> {
        Ok(Box::new(self.clone()))
    }

    async fn restore(&self, _snapshot: &SnapshotId) -> Result<Box<dyn Vm>> {
        Ok(Box::new(self.clone()))
    }

    async fn check(&self, _snapshot: &SnapshotId, _source: &Source) -> Result<SnapshotCheck> {
        Ok(SnapshotCheck::Usable)
    }

    async fn remove(&self, _snapshot: &SnapshotId) -> Result<u64> {
        Ok(0)
    }

    async fn usage(&self) -> Result<Usage> {
        Ok(Usage::default())
    }

    async fn reclaim(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Vm for Nothing {
    async fn inject(&mut self, _source: Arc<Source>) -> Result<()> {
        Ok(())
    }

    async fn exec(
        &self,
        _request: &ExecRequest,
        _output: mpsc::Sender<OutputChunk>,
        _cancel: Cancel,
    ) -> Result<ExecOutcome> {
        Ok(ExecOutcome {
            status: ExitStatus::Code(0),
            killed: None,
            notes: Vec::new(),
        })
    }

    async fn attach(
        &self,
        request: &ExecRequest,
        _terminal: Terminal,
        cancel: Cancel,
    ) -> Result<ExecOutcome> {
        self.exec(request, mpsc::channel(1).0, cancel).await
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(Snapshot {
            id: SnapshotId(format!("nothing-{number}")),
        })
    }

    async fn destroy(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn plan(steps: usize, parent: impl Fn(usize) -> usize, policy: Option<&str>) -> Plan {
    let steps = (0..steps).map(|number| {
        let mut step = StepWriter::new(format!("s{number}"), format!(": {number}"));
        if number > 0 {
            step = step.builds_in(format!("s{}", parent(number)));
        }
        match policy {
            Some(policy) => step.cached(policy),
            None => step,
        }
    });
    PlanWriter::of(steps).plan()
}

/// Runs a plan; gives the microseconds per step until the last step's end, and until the outcome, by when
/// every snapshot is registered on disk.
async fn measure(
    backend: &LocalBackend,
    tree: &std::path::Path,
    plan: Plan,
) -> std::result::Result<(f64, f64), Box<dyn Error>> {
    let steps = plan.graph.len() as f64;
    let request = request(plan, tree, RunOptions::default());
    let begun = Instant::now();
    let (mut events, control) = backend.start(request).await?.into_parts();
    let mut scheduled = begun.elapsed();
    while let Some(event) = events.next().await {
        if !matches!(event, hm_plugin_protocol::events::BuildEvent::BuildEnd { .. }) {
            scheduled = begun.elapsed();
        }
    }
    let outcome = control.wait().await?;
    assert_eq!(outcome.status, BuildStatus::Passed);
    let per_step = |elapsed: std::time::Duration| elapsed.as_secs_f64() * 1e6 / steps;
    Ok((per_step(scheduled), per_step(begun.elapsed())))
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut sizes: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    println!("microseconds per step           scheduled   registered");
    for steps in sizes {
        for (shape, parent) in [("chain", (|n| n - 1) as fn(usize) -> usize), ("fan-out", |_| 0)] {
            for policy in [None, Some("forever")] {
                let dirs = tempfile::tempdir()?;
                let tree = dirs.path().join("tree");
                std::fs::create_dir(&tree)?;
                let slots = NonZeroUsize::new(8).ok_or("not zero")?;
                let backend =
                    LocalBackend::new(slots, Arc::new(Nothing::default()), dirs.path().join("data"));
                let kinds = ["plain", "cached miss", "cached hit"];
                let runs: &[usize] = if policy.is_some() { &[1, 2] } else { &[0] };
                for kind in runs {
                    let (scheduled, registered) =
                        measure(&backend, &tree, plan(steps, parent, policy)).await?;
                    println!(
                        "{steps:>7} {shape:<8} {:<12} {scheduled:>9.1} {registered:>12.1}",
                        kinds[*kind]
                    );
                }
            }
        }
    }
    Ok(())
}
