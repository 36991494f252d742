//! The local backend over the sandbox keeps the contract of execution backends, with real processes.
#![cfg(target_os = "linux")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use hm_exec::LocalBackend;
use hm_exec::testing::contract;
use hm_vm::sandbox::{SandboxBackend, SandboxConfig};
use tempfile::TempDir;

fn sandbox(data: &Path) -> Arc<SandboxBackend> {
    let path = std::env::var("PATH").expect("a search path");
    Arc::new(SandboxBackend::new(SandboxConfig::new(data, path)).expect("a sandbox"))
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[tokio::test]
async fn the_sandbox_keeps_the_contract_of_builds() {
    let mut dirs = Vec::new();
    contract::run_all(async || {
        let dir = temporary();
        let (tree, data) = (dir.path().join("tree"), dir.path().join("data"));
        std::fs::create_dir(&tree).expect("a worktree");
        let slots = NonZeroUsize::new(4).expect("not zero");
        let backend = LocalBackend::new(slots, sandbox(&data), data);
        dirs.push(dir);
        contract::Subject::new(Arc::new(backend), tree)
    })
    .await;
}
