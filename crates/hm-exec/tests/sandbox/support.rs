//! A local backend over the sandbox, on a worktree of its own.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use hm_exec::testing::{PlanWriter, Played, check_order, play, request};
use hm_exec::{BuildStatus, LocalBackend, RunOptions};
use hm_sandbox::{SandboxBackend, SandboxConfig};
use tempfile::TempDir;

/// A worktree, a data directory, and a backend over both.
pub struct Bench {
    pub vm: Arc<SandboxBackend>,
    pub backend: LocalBackend,
    dirs: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dirs = tempfile::tempdir().expect("a temporary directory");
        let data = dirs.path().join("data");
        std::fs::create_dir(dirs.path().join("tree")).expect("a worktree");
        let path = std::env::var("PATH").expect("a search path");
        let vm = Arc::new(SandboxBackend::new(SandboxConfig::new(&data, path)).expect("a sandbox"));
        let slots = NonZeroUsize::new(4).expect("not zero");
        Self {
            backend: LocalBackend::new(slots, vm.clone(), data),
            vm,
            dirs,
        }
    }

    pub fn tree(&self) -> PathBuf {
        self.dirs.path().join("tree")
    }

    /// Runs a plan to its end and checks the order of its events.
    pub async fn run(&self, plan: &PlanWriter) -> Played {
        self.run_with(plan, RunOptions::default()).await
    }

    pub async fn run_with(&self, plan: &PlanWriter, options: RunOptions) -> Played {
        let plan = plan.plan();
        let request = request(plan.clone(), &self.tree(), options);
        let played = play(&self.backend, request, |_, _| {}).await.expect("it starts");
        check_order(&played.events, &plan.graph).expect("the order holds");
        played
    }

    /// Runs a plan that passes.
    pub async fn passes(&self, plan: &PlanWriter) -> Played {
        let played = self.run(plan).await;
        assert_eq!(status(&played), BuildStatus::Passed, "{:#?}", played.events);
        played
    }
}

pub fn status(played: &Played) -> BuildStatus {
    played.status().expect("no infrastructure failure")
}
