//! What this machine can run, and why not, in plain words.
//!
//! The best check is a step: [`check`] runs one, and reads what else the kernel tells only to say why it failed
//! or what it did without. `notices` tries nothing.

mod facts;
mod trial;
mod verdict;

use super::SandboxConfig;
use facts::{Facts, Tun};
use trial::Trial;

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

/// Looks at everything that the sandbox wants of this machine, by running a step: a fifth of a second where
/// it has to wait for the network.
#[must_use]
pub fn check(config: &SandboxConfig) -> Vec<Finding> {
    let trial = Trial::run(config);
    verdict::judge(&Facts::read(config), &trial)
}

/// What a run's header should tell, found without trying anything.
pub(super) fn notices(config: &SandboxConfig) -> Vec<String> {
    let without = |why: &str| vec![format!("steps have no network beyond their own localhost: {why}")];
    if super::idmap::find_program("pasta", &config.path).is_none() {
        return without("pasta is not installed (apt-get install passt)");
    }
    match facts::tun() {
        Tun::Usable => Vec::new(),
        Tun::Missing | Tun::Refused => without("/dev/net/tun cannot be opened (`hm doctor` tells more)"),
    }
}
