//! This test binary again, as a child process that does one job until it ends or is killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::backend::{FileBackend, budget, registry};

const JOB: &str = "HM_TEST_JOB";
const DATA: &str = "HM_TEST_DATA";
const SEED: &str = "HM_TEST_SEED";

/// Starts a child.
pub fn start(job: &str, data: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "children::child", "--ignored", "--quiet"])
        .env(JOB, job)
        .env(DATA, data)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("child")
}

#[test]
#[ignore = "started by other tests, in a process of its own"]
fn child() {
    let (Some(job), Some(data)) = (std::env::var_os(JOB), std::env::var_os(DATA)) else {
        return;
    };
    let seed: u64 = std::env::var(SEED).expect("seed").parse().expect("number");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    match job.to_str() {
        Some("work") => runtime.block_on(work(Path::new(&data), seed, 60)),
        Some("work-forever") => runtime.block_on(work(Path::new(&data), seed, u64::MAX)),
        other => panic!("no such job: {other:?}"),
    }
}

/// What a run does: look up, pin, take, record, touch, clean; a pinned snapshot must stay.
async fn work(data: &Path, seed: u64, rounds: u64) {
    let registry = registry(data);
    let backend = FileBackend::new(data);
    let lease = registry.lease().expect("lease");
    let mut pinned = Vec::new();
    for round in 0..rounds {
        let key = format!("{:016x}", (seed.wrapping_mul(31) + round * 7) % 40);
        match registry.lookup(&key).expect("lookup") {
            Some(id) if lease.pin(&id).expect("pin") => pinned.push(id),
            _ => {
                let id = backend.take(&format!("s{}-{seed}-{round}", std::process::id()), 1000);
                lease.adopt(&id).expect("adopt");
                registry.record(&key, &id).expect("record");
                pinned.push(id);
            }
        }
        if round % 5 == seed % 5 {
            registry
                .collect(&backend, &budget(10_000))
                .await
                .expect("collect");
        }
        if round % 16 == 15 {
            registry.touch_all(&pinned).expect("touch");
        }
        for id in &pinned {
            assert!(backend.has(id), "{id} was evicted while it was pinned");
        }
    }
}
