//! One step of a plan.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Artifacts, CacheDirectory, CachePolicy, SecretUse, Service, Shell};

/// Where a step stands in its plan, counted from 0. Only meaningful for the [`crate::PipelineGraph`] that it
/// came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub(crate) u32);

impl StepIndex {
    /// The position, for indexing a slice that has one element per step.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// A plan never has more than [`crate::MAX_STEPS`] steps, so a position always fits.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked against MAX_STEPS before any index is made"
    )]
    pub(crate) const fn from_usize(position: usize) -> Self {
        Self(position as u32)
    }
}

/// A step's name in its plan: unique, not empty, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StepKey(pub(crate) String);

impl StepKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for StepKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StepKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a step may reach over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Its own localhost alone.
    None,
    /// Its own localhost, and connections out.
    Outbound,
}

/// What a step may use up. `None` leaves it to the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processor time in cores, such as 1.5.
    pub cpus: Option<f64>,
    /// Processes and threads at one time.
    pub pids: Option<u64>,
    /// Bytes written to the step's own layer.
    pub disk: Option<u64>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name in the plan.
    pub key: StepKey,
    /// What its shell runs in `/workspace`.
    pub cmd: String,
    /// The shell that runs it; `None` is plain `sh`, which goes on after a failing line.
    pub shell: Option<Shell>,
    /// What the author calls it.
    pub label: Option<String>,
    /// The image that it starts from when it has no `builds_in` parent.
    pub image: Option<String>,
    /// The environment, merged and ready to use: the node's, and what only the step itself has.
    pub env: BTreeMap<String, String>,
    /// The most that one attempt may take.
    pub timeout: Option<Duration>,
    /// How long it may take to end after SIGTERM, when it is canceled or timed out; `None` leaves it to the run.
    pub grace: Option<Duration>,
    /// When its snapshot may stand in for running it.
    pub cache: CachePolicy,
    /// Which runner the author asked for, as it stands in the plan.
    pub runner: Option<String>,
    /// What the runner is given, as it stands in the plan.
    pub runner_args: Option<serde_json::Value>,
    /// How many more attempts it gets after a failed one.
    pub retries: u32,
    /// Its failure does not fail the build.
    pub soft_fail: bool,
    /// It needs the source's `.git`.
    pub git: bool,
    /// What it may reach over the network; `None` leaves it to the run.
    pub network: Option<Network>,
    /// What it may use up.
    pub limits: Limits,
    /// What runs beside it.
    pub services: Vec<Service>,
    /// The secrets that it is given.
    pub secrets: Vec<SecretUse>,
    /// What of its workspace is kept for people.
    pub artifacts: Vec<Artifacts>,
    /// The cache directories that it sees.
    pub caches: Vec<CacheDirectory>,
}

/// How many characters of a command stand in for a label.
const DISPLAY_CHARS: usize = 60;

impl Step {
    /// What to call the step before a person: the label, or else the command's first line, cut to 60
    /// characters. Never empty, and without control characters.
    #[must_use]
    pub fn display_name(&self) -> String {
        if let Some(label) = &self.label {
            let label = one_line(label);
            if !label.is_empty() {
                return label;
            }
        }
        let first = self
            .cmd
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        let name = one_line(first);
        if name.is_empty() {
            return self.key.0.clone();
        }
        if name.chars().count() <= DISPLAY_CHARS {
            return name;
        }
        name.chars()
            .take(DISPLAY_CHARS - 1)
            .chain(std::iter::once('…'))
            .collect()
    }
}

/// A terminal must not be at the mercy of a plan's escape sequences.
fn one_line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}
