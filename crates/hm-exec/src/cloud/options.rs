//! How a build runs, as it is said to the server. The agent says it back to its own backend.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use harmont_client::models::{BuildOptions, StepLimits, StepNetwork};
use hm_vm::Network;

use crate::{BackendError, Result, RunOptions};

/// What of `options` is for the agent. What is for this machine alone (`watch`, and `include_git`, whose `.git` is in
/// the archive) stays.
///
/// # Errors
/// [`BackendError::Rejected`] for an image that is a path: agents are other machines.
pub(super) fn build_options(options: &RunOptions) -> Result<BuildOptions> {
    let usual = RunOptions::default();
    let mut images = std::collections::BTreeMap::new();
    for (name, target) in options.images.iter() {
        if target.is_path() {
            return Err(BackendError::Rejected {
                code: "image_is_here".into(),
                message: format!(
                    "`{target}`, which is to stand in for the image {name}, is a path on this machine, and agents are \
                     others: push the image to a registry that they reach, and name it"
                ),
            });
        }
        images.insert(name.to_string(), target.to_string());
    }
    let done = options.resume.iter().flat_map(|resume| &resume.done);
    Ok(BuildOptions {
        keep_going: options.keep_going,
        no_cache: options.no_cache,
        timeout_ms: options.timeout.map(milliseconds),
        grace_ms: (options.grace != usual.grace)
            .then(|| u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX)),
        parallelism: options
            .parallelism
            .map(|steps| NonZeroU32::try_from(steps).unwrap_or(NonZeroU32::MAX)),
        only: options.only.clone(),
        from: options.from.clone(),
        network: (options.network == Network::None).then_some(StepNetwork::None),
        limits: StepLimits {
            memory: options.limits.memory,
            milli_cpus: options.limits.cpus.map(thousandths),
            pids: options.limits.pids,
            disk: options.limits.disk,
        },
        artifact_bytes: (options.artifact_bytes != usual.artifact_bytes).then_some(options.artifact_bytes),
        images,
        tag: None,
        done: done
            .map(|(key, snapshot)| (key.clone(), snapshot.0.clone()))
            .collect(),
    })
}

/// Never none: a timeout that is shorter than a millisecond is one of a millisecond.
fn milliseconds(timeout: Duration) -> NonZeroU64 {
    u64::try_from(timeout.as_millis()).map_or(NonZeroU64::MAX, |most| {
        NonZeroU64::new(most).unwrap_or(NonZeroU64::MIN)
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast keeps within the bounds, and a limit is within them"
)]
fn thousandths(cpus: f64) -> NonZeroU64 {
    NonZeroU64::new((cpus * 1000.0).round() as u64).unwrap_or(NonZeroU64::MIN)
}
