//! What this machine can run, and why not, in plain words.
//!
//! The best check is a step: [`check`] runs one, and reads what else the kernel tells only to say why it failed
//! or what it did without. `notices` tries nothing.

mod facts;
mod trial;
mod verdict;

use super::SandboxConfig;
pub use crate::sandbox_surface::{Finding, Status};
use facts::{Facts, Tun};
use trial::Trial;

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
