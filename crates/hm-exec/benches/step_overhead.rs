//! What a step costs beside what its command costs: plans of `true` in the sandbox, from `start` to the
//! outcome, beside the floor (`fork` and `exec` of `sh -c true`, with and without namespaces), in one run.
//!
//! `cargo bench -p hm-exec --bench step_overhead [STEPS]`, as root and as an ordinary user.
#![expect(clippy::print_stdout, reason = "a benchmark tells its numbers")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use hm_exec::testing::{PlanWriter, StepWriter, request};
use hm_exec::{BuildStatus, ExecutionBackend, LocalBackend, Plan, RunOptions};
use hm_sandbox::{SandboxBackend, SandboxConfig};
use hm_vm::{Network, VmBackend};

fn main() -> Result<(), Box<dyn Error>> {
    let steps = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(200);
    let floor = floor(steps)?;
    println!("{:34} {:>9.3} ms", "floor: sh -c true", ms(floor, steps));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for network in [Network::None, Network::Outbound] {
        for (shape, parallelism) in [("chain", 1), ("fan-out", 1), ("fan-out", 2)] {
            let took = runtime.block_on(run(shape, steps, parallelism, network))?;
            let label = format!("{shape} x{parallelism}, network {network:?}");
            let ratio = took.as_secs_f64() / floor.as_secs_f64();
            println!(
                "{label:34} {:>9.3} ms a step, {ratio:.1} times the floor",
                ms(took, steps)
            );
        }
    }
    Ok(())
}

fn ms(took: Duration, steps: u32) -> f64 {
    took.as_secs_f64() * 1_000.0 / f64::from(steps)
}

fn floor(steps: u32) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    for _ in 0..steps {
        if !Command::new("sh").args(["-c", "true"]).status()?.success() {
            return Err("true failed".into());
        }
    }
    Ok(began.elapsed())
}

/// The second of two runs, so that the host's files are in the page cache.
async fn run(
    shape: &str,
    steps: u32,
    parallelism: usize,
    network: Network,
) -> Result<Duration, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let worktree = directory.path().join("worktree");
    std::fs::create_dir(&worktree)?;
    std::fs::write(worktree.join("file"), "text")?;
    let data = directory.path().join("data");
    let vm = Arc::new(SandboxBackend::new(SandboxConfig::new(
        &data,
        std::env::var("PATH")?,
    ))?);
    let parallelism = NonZeroUsize::new(parallelism).ok_or("no parallelism")?;
    let backend = LocalBackend::new(parallelism, vm.clone(), data);
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let began = Instant::now();
        let request = request(
            plan(shape, steps),
            &worktree,
            RunOptions {
                network,
                ..RunOptions::default()
            },
        );
        let (mut events, control) = backend.start(request).await?.into_parts();
        while events.next().await.is_some() {}
        let outcome = control.wait().await?;
        took = began.elapsed();
        if outcome.status != BuildStatus::Passed {
            return Err(format!("the build has {:?}", outcome.status).into());
        }
    }
    vm.shutdown().await;
    Ok(took)
}

fn plan(shape: &str, steps: u32) -> Plan {
    PlanWriter::of((0..steps).map(|step| {
        let writer = StepWriter::new(format!("s{step}"), "true");
        match (shape, step) {
            (_, 0) => writer,
            ("chain", _) => writer.builds_in(format!("s{}", step - 1)),
            _ => writer.builds_in("s0"),
        }
    }))
    .plan()
}
