//! The sandbox where it cannot be: it has the same names, and says that it is Linux's.

use async_trait::async_trait;

use crate::surface::{SandboxConfig, Stats};
use hm_source::Source;
use hm_vm::{
    ImageReference, ResolvedImage, Result, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend, VmError,
};

fn reason() -> String {
    format!(
        "it is Linux's, and this is {}; until hm can use Docker, run it on Linux or in a Linux virtual machine",
        std::env::consts::OS
    )
}

/// There is none here.
#[derive(Debug)]
pub enum SandboxBackend {}

impl SandboxBackend {
    /// A backend, where there can be one.
    ///
    /// # Errors
    /// [`VmError::Unsupported`], always.
    pub fn new(_: SandboxConfig) -> Result<Self> {
        Err(VmError::Unsupported {
            what: "the sandbox".into(),
            reason: reason(),
        })
    }

    /// What this backend has done so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        match *self {}
    }
}

#[async_trait]
impl VmBackend for SandboxBackend {
    fn name(&self) -> &'static str {
        match *self {}
    }

    fn default_image(&self) -> ImageReference {
        match *self {}
    }

    async fn resolve(&self, _: &ImageReference) -> Result<ResolvedImage> {
        match *self {}
    }

    async fn create(&self, _: &ResolvedImage) -> Result<Box<dyn Vm>> {
        match *self {}
    }

    async fn restore(&self, _: &SnapshotId) -> Result<Box<dyn Vm>> {
        match *self {}
    }

    async fn check(&self, _: &SnapshotId, _: &Source) -> Result<SnapshotCheck> {
        match *self {}
    }

    async fn remove(&self, _: &SnapshotId) -> Result<u64> {
        match *self {}
    }

    async fn usage(&self) -> Result<Usage> {
        match *self {}
    }

    async fn reclaim(&self) -> Result<()> {
        match *self {}
    }
}

/// What this machine can run, and why not, in plain words.
pub mod doctor {
    use super::SandboxConfig;
    pub use crate::surface::{Finding, Status};

    /// Says that no step can run here.
    #[must_use]
    pub fn check(_: &SandboxConfig) -> Vec<Finding> {
        vec![Finding {
            name: "sandbox".into(),
            status: Status::Missing,
            detail: format!("no step can run: {}", super::reason()),
            fix: None,
        }]
    }
}
