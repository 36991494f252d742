//! The layers: text by key, each with its origin; the later lies over the earlier.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::secret_source::SecretSource;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(&'static str),
    /// A flag on the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// What has been set, by whom.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    values: BTreeMap<String, (String, Origin)>,
    images: BTreeMap<String, (String, Origin)>,
    /// By registry and key.
    registries: BTreeMap<(String, &'static str), (String, Origin)>,
    secrets: BTreeMap<String, (SecretSource, Origin)>,
}

impl Layers {
    /// Sets a value over what was there.
    pub fn set(&mut self, key: &str, value: impl Into<String>, origin: Origin) {
        self.values.insert(key.to_owned(), (value.into(), origin));
    }

    /// Sets a value from a flag, when the flag was given.
    pub fn flag(&mut self, key: &str, name: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.set(key, value, Origin::Flag(name));
        }
    }

    /// Lets `target` stand in for the image `name`.
    pub fn set_image(&mut self, name: impl Into<String>, target: impl Into<String>, origin: Origin) {
        self.images.insert(name.into(), (target.into(), origin));
    }

    /// Sets something of a registry; `key` is one of [`super::REGISTRY_SETTINGS`].
    pub fn set_registry(
        &mut self,
        registry: impl Into<String>,
        key: &'static str,
        value: impl Into<String>,
        origin: Origin,
    ) {
        self.registries
            .insert((registry.into(), key), (value.into(), origin));
    }

    /// Says where a secret's value is to be had.
    pub fn set_secret(&mut self, name: impl Into<String>, source: SecretSource, origin: Origin) {
        self.secrets.insert(name.into(), (source, origin));
    }

    /// A value as text, and who set it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<(&str, &Origin)> {
        self.values
            .get(key)
            .map(|(value, origin)| (value.as_str(), origin))
    }

    /// All image names, what stands in for them, and who said so.
    pub fn images(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.images
            .iter()
            .map(|(name, (target, origin))| (name.as_str(), target.as_str(), origin))
    }

    /// Where a secret's value is to be had, and who said so.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<(&SecretSource, &Origin)> {
        self.secrets.get(name).map(|(source, origin)| (source, origin))
    }

    /// All secrets, where their values are to be had, and who said so.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &SecretSource, &Origin)> {
        self.secrets
            .iter()
            .map(|(name, (source, origin))| (name.as_str(), source, origin))
    }

    /// All that is set of registries: the registry, the key, the value, and who said so.
    pub fn registries(&self) -> impl Iterator<Item = (&str, &'static str, &str, &Origin)> {
        self.registries
            .iter()
            .map(|((registry, key), (value, origin))| (registry.as_str(), *key, value.as_str(), origin))
    }
}
