//! What can be said of each step alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checks::{check_image, dropped_variable, shell, timeout, wrong_variable};
use super::wire::{WireLimits, WireNode};
use super::{MAX_GRACE_SECONDS, MAX_KEY_BYTES, MAX_RETRIES, json, needs, policy};
use crate::{Limits, Network, PlanError, Shell, Step, StepIndex, StepKey};

pub fn step((position, node): (usize, WireNode)) -> Result<Step, PlanError> {
    let wire = node.step;
    let key = step_key(position, wire.key)?;
    let bad = |field: &'static str, reason: &str| PlanError::BadField {
        step: key.clone(),
        field,
        reason: reason.to_owned(),
    };
    if wire.cmd.contains('\0') {
        return Err(bad(
            "cmd",
            "a NUL character cannot be given to a shell: write it as \\0 in printf",
        ));
    }
    if let Some(image) = &wire.image {
        check_image(image).map_err(|reason| bad("image", &reason))?;
    }
    let retries = wire.retries.unwrap_or(0);
    if retries > MAX_RETRIES {
        return Err(bad(
            "retries",
            &format!("{retries} is more than the {MAX_RETRIES} that hm takes"),
        ));
    }
    let network = match wire.network.as_deref() {
        None => None,
        Some("none") => Some(Network::None),
        Some("outbound") => Some(Network::Outbound),
        Some(other) => {
            return Err(bad(
                "network",
                &format!("{:?} is neither \"none\" nor \"outbound\"", json::cut(other)),
            ));
        }
    };
    let shell = shell(wire.shell.as_deref()).map_err(|reason| bad("shell", &reason))?;
    let env = merged_env(
        &key,
        shell.as_ref(),
        node.env.unwrap_or_default(),
        wire.env.unwrap_or_default(),
    )?;
    Ok(Step {
        timeout: timeout(wire.timeout_seconds, Some(&key))?,
        grace: grace(&key, wire.grace_seconds)?,
        cache: policy::policy(&key, wire.cache)?,
        limits: limits(&key, wire.limits)?,
        cmd: wire.cmd,
        shell,
        label: wire.label,
        image: wire.image,
        runner: wire.runner,
        runner_args: wire.runner_args,
        retries,
        soft_fail: wire.soft_fail.unwrap_or(false),
        git: wire.git.unwrap_or(false),
        network,
        services: needs::services(&key, wire.services.unwrap_or_default())?,
        secrets: needs::secrets(&key, wire.secrets.unwrap_or_default(), &env)?,
        artifacts: needs::artifacts(&key, wire.artifacts.unwrap_or_default())?,
        caches: needs::caches(&key, wire.caches.unwrap_or_default())?,
        env,
        key,
    })
}

/// None at all is a grace, too: such a step is killed at once.
fn grace(key: &StepKey, seconds: Option<u32>) -> Result<Option<Duration>, PlanError> {
    match seconds {
        Some(seconds) if seconds > MAX_GRACE_SECONDS => Err(PlanError::BadField {
            step: key.clone(),
            field: "grace_seconds",
            reason: format!("{seconds} is more than the {MAX_GRACE_SECONDS} that hm takes"),
        }),
        seconds => Ok(seconds.map(|seconds| Duration::from_secs(seconds.into()))),
    }
}

fn step_key(position: usize, key: String) -> Result<StepKey, PlanError> {
    let reason = if key.trim().is_empty() {
        "is empty"
    } else if key.len() > MAX_KEY_BYTES {
        "is longer than 256 bytes"
    } else if key.chars().any(char::is_control) {
        "contains a control character"
    } else {
        return Ok(StepKey(key));
    };
    Err(PlanError::BadKey {
        position,
        key: json::cut(&key),
        reason,
    })
}

/// The node's environment is ready to use, so it wins; a plan written by hand may have the step's alone.
fn merged_env(
    key: &StepKey,
    shell: Option<&Shell>,
    node: BTreeMap<String, String>,
    step: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, PlanError> {
    let mut env = node;
    for (name, value) in step {
        env.entry(name).or_insert(value);
    }
    match wrong_variable(&env).or_else(|| dropped_variable(&env, shell)) {
        None => Ok(env),
        Some((name, reason)) => Err(PlanError::BadEnv {
            step: key.clone(),
            name: json::cut(name),
            reason,
        }),
    }
}

fn limits(key: &StepKey, wire: Option<WireLimits>) -> Result<Limits, PlanError> {
    let Some(wire) = wire else {
        return Ok(Limits::default());
    };
    let bad = |name: &str, value: &str| PlanError::BadField {
        step: key.clone(),
        field: "limits",
        reason: format!("`{name}` is {value}: leave it out for no limit, or give it more than 0"),
    };
    for (name, value) in [("memory", wire.memory), ("pids", wire.pids), ("disk", wire.disk)] {
        if value == Some(0) {
            return Err(bad(name, "0"));
        }
    }
    if let Some(cpus) = wire.cpus.filter(|cpus| !(cpus.is_finite() && *cpus > 0.0)) {
        return Err(bad("cpus", &cpus.to_string()));
    }
    Ok(Limits {
        memory: wire.memory,
        cpus: wire.cpus,
        pids: wire.pids,
        disk: wire.disk,
    })
}

/// The steps' positions in the order of their keys, which must differ.
pub fn sort_by_key(steps: &[Step]) -> Result<Vec<u32>, PlanError> {
    let mut by_key: Vec<u32> = (0..steps.len())
        .map(|position| StepIndex::from_usize(position).0)
        .collect();
    by_key.sort_by(|a, b| steps[*a as usize].key.cmp(&steps[*b as usize].key));
    // The sort is stable, so the first of two equal keys is the first in the plan.
    for pair in by_key.windows(2) {
        let (first, second) = (pair[0] as usize, pair[1] as usize);
        if steps[first].key == steps[second].key {
            return Err(PlanError::DuplicateKey {
                key: steps[first].key.clone(),
                first,
                second,
            });
        }
    }
    Ok(by_key)
}
