//! A local backend over the in-memory double, on a worktree of its own.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hm_exec::testing::{Played, play, request};
use hm_exec::{LocalBackend, Plan, RunOptions, RunRequest};
use hm_plugin_protocol::events::StdStream;
use hm_source::SourceStore;
use hm_vm::Features;
use hm_vm::testing::MemoryBackend;
use tempfile::TempDir;

/// A worktree, a data directory, and a backend over both.
pub struct Bench {
    pub vm: MemoryBackend,
    pub backend: LocalBackend,
    tree: PathBuf,
    dirs: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::on(MemoryBackend::with_images(["ubuntu:24.04"]))
    }

    /// One whose machines can do only this.
    pub fn with_features(features: Features) -> Self {
        Self::on(MemoryBackend::new().with_features(features))
    }

    fn on(vm: MemoryBackend) -> Self {
        let dirs = tempfile::tempdir().expect("a temporary directory");
        let tree = dirs.path().join("tree");
        std::fs::create_dir(&tree).expect("a worktree");
        let slots = NonZeroUsize::new(4).expect("not zero");
        let backend = LocalBackend::new(slots, Arc::new(vm.clone()), dirs.path().join("data"));
        Self {
            vm,
            backend,
            tree,
            dirs,
        }
    }

    /// One of many over the same empty worktree, which is scanned and stored only once.
    pub fn over(shared: &Path) -> Self {
        let mut bench = Self::new();
        bench.tree = shared.join("tree");
        std::fs::create_dir_all(&bench.tree).expect("a worktree");
        bench.backend = bench
            .backend
            .with_sources(SourceStore::new(shared.join("sources")));
        bench
    }

    pub fn tree(&self) -> PathBuf {
        self.tree.clone()
    }

    pub fn data(&self) -> PathBuf {
        self.dirs.path().join("data")
    }

    pub fn request(&self, plan: Plan, options: RunOptions) -> RunRequest {
        request(plan, &self.tree(), options)
    }

    pub async fn play(&self, plan: Plan, options: RunOptions) -> Played {
        let request = self.request(plan, options);
        play(&self.backend, request, |_, _| {})
            .await
            .expect("the build starts")
    }
}

pub fn stdout(played: &Played, key: &str) -> String {
    played.output(key, StdStream::Stdout)
}
