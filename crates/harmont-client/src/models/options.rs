//! How a build runs: what hm's own server takes beside the published API.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Deserializer, Serialize};

/// What a step may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepNetwork {
    /// Its own localhost, and connections out.
    Outbound,
    /// Its own localhost alone.
    None,
}

/// What a step may use up unless the plan says otherwise; nothing here is no limit of the build's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepLimits {
    /// Memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processor time in thousandths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milli_cpus: Option<NonZeroU64>,
    /// Processes and threads at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Bytes written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

impl StepLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a build runs. Whoever reads an option that it does not know refuses all of them: a build must not run otherwise
/// than it was asked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildOptions {
    /// Run what does not depend on a failed step to its end.
    #[serde(skip_serializing_if = "is_false")]
    pub keep_going: bool,
    /// Run every step, whatever is cached.
    #[serde(skip_serializing_if = "is_false")]
    pub no_cache: bool,
    /// The most that an agent may take for it, in milliseconds; what it waits for an agent does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<NonZeroU64>,
    /// How long a step that is canceled or timed out may take to end after SIGTERM, in milliseconds, unless the plan says
    /// otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// How many steps may run at once, as far as the agent allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<NonZeroU32>,
    /// Run this step alone, and what it builds in where that has no snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Run this step, cached or not, and what descends from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What steps may reach unless the plan says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<StepNetwork>,
    /// What a step may use up unless the plan says otherwise.
    #[serde(skip_serializing_if = "StepLimits::is_default")]
    pub limits: StepLimits,
    /// What one entry of a step's artifacts may have, in bytes, unless the step says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_bytes: Option<u64>,
    /// What stands in for images on the agent: their names, or `host`; never a path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// The tag of the source's commit, which its steps see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Steps that count as done, by key, with the snapshot that each left on an agent. Where that has no such snapshot,
    /// the step runs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub done: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl BuildOptions {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Options that a build is told to have; none where an option is of another time.
    pub(super) fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(serde_json::from_value(value).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_not_written() {
        let written = |options| serde_json::to_string(&options).expect("JSON");
        assert_eq!(written(BuildOptions::default()), "{}");
        let options = BuildOptions {
            keep_going: true,
            timeout_ms: NonZeroU64::new(1500),
            ..BuildOptions::default()
        };
        assert_eq!(written(options), r#"{"keep_going":true,"timeout_ms":1500}"#);
    }

    #[test]
    fn an_option_of_another_time_is_refused_with_its_name() {
        for text in [r#"{"keep_going":true,"colour":1}"#, r#"{"limits":{"colour":1}}"#] {
            let error = serde_json::from_str::<BuildOptions>(text).expect_err("it is refused");
            assert!(error.to_string().contains("colour"), "{error}");
        }
        assert!(serde_json::from_str::<BuildOptions>(r#"{"timeout_ms":0}"#).is_err());
    }
}
