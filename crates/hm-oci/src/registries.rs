//! How registries are reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CredentialSource, Platform, Progress, UnpackLimits};

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Once per tag and run, with one small request: a tag that has moved is noticed. A registry that cannot be
    /// reached is no error as long as the image is stored.
    #[default]
    Always,
    /// For what is not stored.
    Missing,
    /// Never.
    Never,
}

/// What is particular to one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Tried in order before the registry itself: `mirror.example.org`, `mirror.example.org/docker-hub`, with
    /// `http://` in front where the mirror has no TLS.
    pub mirrors: Vec<String>,
    /// Whether it speaks plain HTTP. Registries on this machine's loopback do unless this says otherwise.
    pub plain_http: Option<bool>,
    /// When it is asked; `None`: as all others are.
    pub pull: Option<PullPolicy>,
}

/// All that the image store is told by its caller.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    /// By a registry's name: `docker.io`, `localhost:5000`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// When registries are asked.
    pub pull: PullPolicy,
    /// Asked for: an image for another machine. `None`: this machine's, and any other is refused.
    pub platform: Option<Platform>,
    /// Finds credentials.
    pub credentials: Option<Arc<dyn CredentialSource>>,
    /// Is told what happens.
    pub progress: Option<Arc<dyn Progress>>,
    /// What ends the unpacking of a layer.
    pub limits: UnpackLimits,
    /// How many layers are fetched at once.
    pub parallelism: usize,
    /// How often in a row something that failed for now is tried again, while nothing comes of it.
    pub retries: usize,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            registries: BTreeMap::new(),
            pull: PullPolicy::default(),
            platform: None,
            credentials: None,
            progress: None,
            limits: UnpackLimits::default(),
            parallelism: 4,
            retries: 6,
        }
    }
}
