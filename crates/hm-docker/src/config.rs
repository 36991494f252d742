//! What the backend is told by its caller.

use std::path::PathBuf;
use std::sync::Arc;

use hm_oci::{CredentialSource, Platform, Progress, PullPolicy};
use hm_vm::ImageReference;

/// What the backend is told by its caller: this crate reads no environment and no credentials.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// Where it keeps what the engine cannot: what a snapshot knows of the source, locks.
    pub data_dir: PathBuf,
    /// How the engine is reached, as `DOCKER_HOST` says it: `unix:///run/docker.sock`, `tcp://host:2375`; `None` is
    /// Docker's own socket. Podman's is `unix:///run/podman/podman.sock`.
    pub host: Option<String>,
    /// What a step without an image starts from.
    pub default_image: ImageReference,
    /// When registries are asked.
    pub pull: PullPolicy,
    /// Asked for: images for another machine than the engine's.
    pub platform: Option<Platform>,
    /// Finds credentials.
    pub credentials: Option<Arc<dyn CredentialSource>>,
    /// Is told what happens while an image is fetched.
    pub progress: Option<Arc<dyn Progress>>,
}

impl DockerConfig {
    /// Docker's own socket, and the defaults for all else.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            host: None,
            default_image: ImageReference::new("ubuntu:24.04"),
            pull: PullPolicy::default(),
            platform: None,
            credentials: None,
            progress: None,
        }
    }
}
