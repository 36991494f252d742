//! What a step needs beside its command: services, secrets, artifacts, cache directories.
//!
//! All of these are hm's own additions to the v0 IR: optional fields of a step.
//!
//! ```json
//! "services":  [{"name": "db", "image": "postgres:17", "cmd": "...", "env": {}, "scope": "chain", "shell": "sh -e",
//!                "health": {"cmd": "pg_isready", "interval_seconds": 1, "timeout_seconds": 60}}],
//! "secrets":   [{"name": "TOKEN"}, {"name": "TOKEN", "env": "GITHUB_TOKEN"}, {"name": "KEY", "file": "deploy.key"}],
//! "artifacts": [{"paths": ["report/**/*.xml"], "when": "always", "max_bytes": 104857600}],
//! "caches":    [{"name": "cargo", "path": "~/.cargo/registry"}]
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Shell;

/// How long a service lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ServiceScope {
    /// As long as the step that names it.
    #[default]
    Step,
    /// From the first step that runs of those at or after the one that names it, to the last step of the chain: all
    /// of these reach it.
    Chain,
}

/// How to find out that a service can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What the service's shell runs in its own root; the service can be used once it exits with 0.
    pub cmd: String,
    /// How long to wait between two tries.
    pub interval: Duration,
    /// The most that the service may take until it can be used.
    pub timeout: Duration,
}

/// A program that runs beside a step, reachable at `localhost` and by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, which is its host name too: letters, digits, `-` and `.`.
    pub name: String,
    /// The image that it starts from; `None` is the backend's default.
    pub image: Option<String>,
    /// What its shell runs; `None` is the image's own command.
    pub cmd: Option<String>,
    /// The shell that runs its command and its health check; `None` is plain `sh`.
    pub shell: Option<Shell>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// How to find out that it can be used; without one it counts as usable once it runs.
    pub health: Option<HealthCheck>,
    /// How long it lives.
    pub scope: ServiceScope,
}

/// How a step is given a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretDelivery {
    /// As this variable.
    Env(String),
    /// As the file of this name in `/run/secrets`.
    File(String),
}

/// A secret that a step is given. Its value is never in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretUse {
    /// What the run calls it.
    pub name: String,
    /// How the step is given it.
    pub delivery: SecretDelivery,
}

/// When artifacts are collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CollectWhen {
    /// Whether the step passed or failed.
    #[default]
    Always,
    /// When it passed.
    Passed,
    /// When it failed.
    Failed,
}

/// Files of a step's workspace that are kept for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// Globs relative to the workspace.
    pub paths: Vec<String>,
    /// When they are collected.
    pub when: CollectWhen,
    /// The most that may be collected, in bytes; `None` leaves it to the run.
    pub max_bytes: Option<u64>,
}

/// A directory that outlives the step and is in no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheDirectory {
    /// Its name; steps that name the same one share it.
    pub name: String,
    /// Where the step sees it: absolute, `~/...`, or relative to the workspace.
    pub path: String,
    /// Whether what the step writes there is kept.
    pub keep: CacheKeep,
}

/// When what a step wrote to a cache directory is there for later ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CacheKeep {
    /// When it passed.
    #[default]
    Passed,
    /// When it failed, too: for what is only ever added to.
    Always,
}
