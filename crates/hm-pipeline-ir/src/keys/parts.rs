//! The components of a key.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::CacheKey;
use super::fields::Fields;

/// One of the things that a step's identity is made of, in the order in which they are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Component {
    /// The version of the scheme.
    #[serde(rename = "format")]
    Format,
    /// The identity of the step that it builds in.
    #[serde(rename = "parent")]
    Parent,
    /// The image that it starts from.
    #[serde(rename = "image")]
    Image,
    /// The command.
    #[serde(rename = "command")]
    Command,
    /// The environment.
    #[serde(rename = "environment")]
    Environment,
    /// The runner and what it is given.
    #[serde(rename = "runner")]
    Runner,
    /// The policy's name.
    #[serde(rename = "policy")]
    Policy,
    /// The key that the plan gives.
    #[serde(rename = "cache.key")]
    PlanKey,
    /// The files that the policy watches.
    #[serde(rename = "watched")]
    Watched,
    /// The source tree.
    #[serde(rename = "source")]
    Source,
    /// The services that it reaches.
    #[serde(rename = "services")]
    Services,
    /// The secrets that it is given, without their values.
    #[serde(rename = "secrets")]
    Secrets,
    /// The artifacts that it leaves.
    #[serde(rename = "artifacts")]
    Artifacts,
    /// The cache directories that it sees.
    #[serde(rename = "caches")]
    Caches,
    /// The shells that run its command and those of its services.
    #[serde(rename = "shell")]
    Shell,
}

impl Component {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::Format,
        Self::Parent,
        Self::Image,
        Self::Command,
        Self::Environment,
        Self::Runner,
        Self::Policy,
        Self::PlanKey,
        Self::Watched,
        Self::Source,
        Self::Services,
        Self::Secrets,
        Self::Artifacts,
        Self::Caches,
        Self::Shell,
    ];

    /// Its name before a person and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Parent => "parent",
            Self::Image => "image",
            Self::Command => "command",
            Self::Environment => "environment",
            Self::Runner => "runner",
            Self::Policy => "policy",
            Self::PlanKey => "cache.key",
            Self::Watched => "watched",
            Self::Source => "source",
            Self::Services => "services",
            Self::Secrets => "secrets",
            Self::Artifacts => "artifacts",
            Self::Caches => "caches",
            Self::Shell => "shell",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The components of a step's identity, each with its digest: small enough to keep beside a snapshot, and
/// enough to tell later why a step was not found. In JSON an object from names to digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyParts(BTreeMap<Component, CacheKey>);

impl KeyParts {
    pub(super) const fn new(components: BTreeMap<Component, CacheKey>) -> Self {
        Self(components)
    }

    /// The step's identity, under which its snapshot is stored.
    #[must_use]
    pub fn key(&self) -> CacheKey {
        let start = Fields::new("hm cache key").count(self.0.len());
        let fold = |fields: Fields, (component, digest): (&Component, &CacheKey)| {
            fields.text(component.name()).bytes(digest.as_bytes())
        };
        self.0.iter().fold(start, fold).digest()
    }

    /// The components in order.
    pub fn iter(&self) -> impl Iterator<Item = (Component, CacheKey)> + '_ {
        self.0.iter().map(|(component, digest)| (*component, *digest))
    }

    /// Whether they are of a step that starts from the image with this digest.
    #[must_use]
    pub fn starts_from(&self, reference: &str, digest: &str) -> bool {
        self.0.get(&Component::Image) == Some(&super::inputs::image_component(reference, digest))
    }

    /// The names of the components that differ from an earlier run's, or are in only one of the two. Empty
    /// exactly when the keys are equal.
    #[must_use]
    pub fn diff(&self, old: &Self) -> Vec<&'static str> {
        Component::ALL
            .into_iter()
            .filter(|component| self.0.get(component) != old.0.get(component))
            .map(Component::name)
            .collect()
    }
}
