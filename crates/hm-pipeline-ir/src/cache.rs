//! When a step's snapshot may stand in for running it.

use std::time::Duration;

/// A step's cache policy. The `key` of a policy is what the plan's author computed (a time bucket, digests
/// of files, values of variables are folded into it); it is taken as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CachePolicy {
    /// The step always runs: it may be a deployment.
    #[default]
    None,
    /// The snapshot holds as long as nothing that the step could see has changed: parent, command,
    /// environment, image, source tree.
    Auto,
    /// The snapshot holds for a while; the time bucket is in the key.
    Ttl {
        /// How long.
        duration: Duration,
        /// Variables whose values are in the key.
        env_keys: Vec<String>,
        /// What the author computed.
        key: Option<String>,
    },
    /// The snapshot holds until one of these files changes; their digests are in the key.
    OnChange {
        /// Paths and globs.
        paths: Vec<String>,
        /// What the author computed.
        key: Option<String>,
    },
    /// The snapshot holds until the step itself changes.
    Forever {
        /// Variables whose values are in the key.
        env_keys: Vec<String>,
        /// What the author computed.
        key: Option<String>,
    },
    /// The snapshot holds as long as it does under every one of these.
    Compose {
        /// The policies, whose own keys are usually absent: the outer one covers them.
        policies: Vec<CachePolicy>,
        /// What the author computed.
        key: Option<String>,
    },
}

impl CachePolicy {
    /// The policy's name in the plan.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Ttl { .. } => "ttl",
            Self::OnChange { .. } => "on_change",
            Self::Forever { .. } => "forever",
            Self::Compose { .. } => "compose",
        }
    }

    /// Whether a snapshot may ever stand in for the step. A composition with `none` anywhere in it is never
    /// cached.
    #[must_use]
    pub fn is_cacheable(&self) -> bool {
        match self {
            Self::None => false,
            Self::Compose { policies, .. } => policies.iter().all(Self::is_cacheable),
            _ => true,
        }
    }

    /// Whether the digest of the source tree is part of the step's key: `auto`, alone or in a composition.
    #[must_use]
    pub fn uses_source(&self) -> bool {
        match self {
            Self::Auto => true,
            Self::Compose { policies, .. } => policies.iter().any(Self::uses_source),
            _ => false,
        }
    }

    /// What the plan's author computed.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::None | Self::Auto => None,
            Self::Ttl { key, .. }
            | Self::OnChange { key, .. }
            | Self::Forever { key, .. }
            | Self::Compose { key, .. } => key.as_deref(),
        }
    }

    /// Whether the plan must give a key: only the author's program knows the time bucket, the files and the
    /// variables behind such a policy.
    pub(crate) fn needs_key(&self) -> bool {
        match self {
            Self::None | Self::Auto => false,
            Self::Ttl { .. } | Self::OnChange { .. } | Self::Forever { .. } => true,
            Self::Compose { policies, .. } => policies.iter().any(Self::needs_key),
        }
    }
}
