//! Which backend runs a build where nobody says: the sandbox, or Docker where the sandbox cannot be.

use std::path::PathBuf;
use std::sync::Arc;

use hm_sandbox::doctor;

use super::engine::{Engine, find_engine};
use super::settings::sandbox_config;
use crate::choices::BackendChoice;
use crate::config::Config;
use crate::context::Context;
use crate::pulls::Pulls;

/// Remembers, by the kernel's boot and the user, that the sandbox was tried and works.
const PROOF: &str = "sandbox/works";

/// The backend, and words about why, where it is not what one expects.
pub(super) fn choose(context: &Context, config: &Config) -> (BackendChoice, Option<String>) {
    // A server's machines are elsewhere: what is asked of this one is what it has itself.
    if let Some(backend) = config.backend.filter(|backend| *backend != BackendChoice::Cloud) {
        return (backend, None);
    }
    // Where there is no engine there is nothing to choose, and the sandbox's own words tell what is missing.
    let engine = find_engine(&context.environment, config).filter(Engine::listens);
    let Some(engine) = engine else {
        return (BackendChoice::Sandbox, None);
    };
    match why_no_sandbox(context, config) {
        None => (BackendChoice::Sandbox, None),
        Some(reason) => (
            BackendChoice::Docker,
            Some(format!(
                "the sandbox cannot be here ({reason}): running on docker at {}",
                engine.host
            )),
        ),
    }
}

/// What keeps the sandbox from running here, found by a trial once a boot.
fn why_no_sandbox(context: &Context, config: &Config) -> Option<String> {
    let proof = config.data_dir.join(PROOF);
    let boot = boot();
    if boot.is_some() && std::fs::read_to_string(&proof).ok() == boot {
        return None;
    }
    let findings = doctor::check(&sandbox_config(context, config, Arc::new(Pulls::new(context))));
    let missing = findings
        .into_iter()
        .find(|finding| finding.status == doctor::Status::Missing);
    if let (None, Some(boot)) = (&missing, boot) {
        // What cannot be kept is found out again.
        let _ = std::fs::write(proof, boot);
    }
    missing.map(|finding| finding.detail)
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string(PathBuf::from("/proc/sys/kernel/random/boot_id")).ok()?;
    Some(format!("{} {}\n", id.trim(), rustix::process::geteuid().as_raw()))
}
