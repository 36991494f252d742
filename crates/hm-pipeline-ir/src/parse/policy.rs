//! Cache policies.

use std::time::Duration;

use super::json;
use super::wire::WirePolicy;
use crate::{CachePolicy, PlanError, StepKey};

/// A step's own policy: one that needs a key has one.
pub fn policy(step: &StepKey, wire: Option<WirePolicy>) -> Result<CachePolicy, PlanError> {
    let Some(wire) = wire else {
        return Ok(CachePolicy::None);
    };
    let policy = convert(step, wire)?;
    if policy.is_cacheable() && policy.needs_key() && policy.key().is_none_or(|key| key.trim().is_empty()) {
        return Err(PlanError::PolicyWithoutKey {
            step: step.clone(),
            policy: policy.name(),
        });
    }
    Ok(policy)
}

/// Recursive, but no deeper than the JSON parser lets a document nest.
fn convert(step: &StepKey, wire: WirePolicy) -> Result<CachePolicy, PlanError> {
    let env_keys = wire.env_keys.unwrap_or_default();
    let key = wire.key;
    Ok(match wire.policy.as_str() {
        "none" => CachePolicy::None,
        "auto" => CachePolicy::Auto,
        "ttl" => CachePolicy::Ttl {
            duration: Duration::from_secs(wire.duration_seconds.unwrap_or(0)),
            env_keys,
            key,
        },
        "on_change" => CachePolicy::OnChange {
            paths: wire.paths.unwrap_or_default(),
            key,
        },
        "forever" => CachePolicy::Forever { env_keys, key },
        "compose" => CachePolicy::Compose {
            policies: wire
                .sub_policies
                .unwrap_or_default()
                .into_iter()
                .map(|policy| convert(step, policy))
                .collect::<Result<_, _>>()?,
            key,
        },
        other => {
            return Err(PlanError::UnknownPolicy {
                step: step.clone(),
                policy: json::cut(other),
            });
        }
    })
}
