//! What this machine can run, and why not, in plain words.
//!
//! The best check is a step: [`check`] runs one, and reads what else the kernel tells only to say why it failed
//! or what it did without. `notices` tries nothing.

mod facts;
mod trial;
mod verdict;

use crate::surface::SandboxConfig;
pub use crate::surface::{Finding, Status};
use facts::{Facts, Tun};
use trial::Trial;

/// Looks at everything that the sandbox wants of this machine, by running a step: a fifth of a second where
/// it has to wait for the network.
#[must_use]
pub fn check(config: &SandboxConfig) -> Vec<Finding> {
    let trial = Trial::run(config);
    verdict::judge(&Facts::read(config), &trial)
}

/// Whether a step can run at all, as far as reading tells, in a moment. `try_it` starts what shows the rest, where
/// reading leaves it open.
pub(super) fn ready(config: &SandboxConfig, try_it: impl FnOnce() -> hm_vm::Result<()>) -> hm_vm::Result<()> {
    let facts = Facts::read(config);
    let Some(Finding { detail, fix, .. }) = verdict::missing(&facts) else {
        return if verdict::is_uncertain(&facts) {
            try_it()
        } else {
            Ok(())
        };
    };
    let fix = fix.map_or_else(String::new, |fix| format!("; mend it by `{fix}`"));
    Err(hm_vm::VmError::Unsupported {
        what: "the sandbox".into(),
        reason: format!("{detail}{fix} (`hm doctor` tells more)"),
    })
}

/// A set-up failure with its cause, as far as reading tells one, and what mends it.
pub(super) fn explain(config: &SandboxConfig, reason: &str) -> String {
    const MORE: &str = "`hm doctor`";
    if reason.contains(MORE) {
        return reason.to_owned();
    }
    let facts = Facts::read(config);
    let failed = Trial::Failed(reason.to_owned());
    let cause =
        verdict::cause(&facts, &failed).map_or_else(String::new, |Finding { detail, fix, .. }| {
            let fix = fix.map_or_else(String::new, |fix| format!("; mend it by `{fix}`"));
            format!(": {detail}{fix}")
        });
    format!("{reason}{cause} ({MORE} tells more)")
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
