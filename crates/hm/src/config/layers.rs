//! The layers and their merging: text by key, each with its origin.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::setting::{IMAGES, REGISTRIES, SECRETS, SETTINGS, by_key};
use super::{ConfigError, registries, values};
use crate::env_vars;
use crate::environment::Environment;
use crate::secrets::{FORMS, SecretSource};

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

/// Reads the user's file, the project's, and the environment. Words about keys that mean nothing go to
/// `warnings`.
///
/// # Errors
/// When a file cannot be read or is not TOML, or a variable makes no sense.
pub fn load(
    environment: &Environment,
    repo_root: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Layers, ConfigError> {
    let mut layers = Layers::default();
    let home = environment.home();
    if let Some(path) = environment.user_config() {
        read_file(&path, home.as_deref(), &mut layers, warnings)?;
    }
    if let Some(root) = repo_root {
        read_file(
            &root.join(".hm/config.toml"),
            home.as_deref(),
            &mut layers,
            warnings,
        )?;
    }
    if let Some(host) = environment.get(env_vars::DOCKER_HOST) {
        let origin = Origin::Environment(env_vars::DOCKER_HOST);
        layers.set("docker.host", host, origin);
    }
    for setting in SETTINGS {
        if let Some(value) = environment.get(setting.env) {
            layers.set(setting.key, value, Origin::Environment(setting.env));
        }
    }
    registries::take_environment(environment, &mut layers)?;
    let images = environment.get(env_vars::HM_IMAGES).unwrap_or_default();
    for pair in images.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let origin = Origin::Environment(env_vars::HM_IMAGES);
        let (name, target) = values::parse_image_pair(pair).map_err(|message| ConfigError::Value {
            key: IMAGES.into(),
            value: pair.into(),
            origin: origin.to_string(),
            message,
        })?;
        layers.set_image(name, target, origin);
    }
    Ok(layers)
}

fn read_file(
    path: &Path,
    home: Option<&Path>,
    layers: &mut Layers,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(source) => {
            return Err(ConfigError::Read {
                path: path.into(),
                source,
            });
        }
    };
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.into(),
            line: error.span().map_or(1, |span| line_of(&text, span.start)),
            message: error.message().to_owned(),
        })?;
    if table
        .get("cloud")
        .is_some_and(|cloud| cloud.get("token").is_some())
    {
        return Err(ConfigError::Token(path.into()));
    }
    let origin = Origin::File(path.into());
    for (key, value) in table {
        match value {
            toml::Value::Table(entries) => {
                if key == SECRETS {
                    take_secrets(entries, path, home, layers, warnings);
                    continue;
                }
                for (name, value) in entries {
                    take(&key, &name, value, &origin, layers, warnings);
                }
            }
            value => take("", &key, value, &origin, layers, warnings),
        }
    }
    Ok(())
}

fn take(
    section: &str,
    name: &str,
    value: toml::Value,
    origin: &Origin,
    layers: &mut Layers,
    warnings: &mut Vec<String>,
) {
    let key = if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    };
    if section == REGISTRIES {
        registries::take_table(name, value, origin, layers, warnings);
        return;
    }
    match (as_text(value), section) {
        (Some(text), IMAGES) => layers.set_image(name, text, origin.clone()),
        (Some(text), _) if by_key(&key).is_some() => layers.set(&key, text, origin.clone()),
        _ => warnings.push(format!("{origin}: unknown key `{key}`{}", nearest(&key))),
    }
}

/// What `[secrets]` says. A value that stands there by mistake is not shown.
fn take_secrets(
    entries: toml::Table,
    file: &Path,
    home: Option<&Path>,
    layers: &mut Layers,
    warnings: &mut Vec<String>,
) {
    let directory = file.parent().unwrap_or(file);
    // The project's files are seen from its root.
    let base = if directory.file_name() == Some(OsStr::new(".hm")) {
        directory.parent().unwrap_or(directory)
    } else {
        directory
    };
    let origin = Origin::File(file.into());
    for (name, value) in entries {
        let source = as_text(value).and_then(|text| SecretSource::parse(&text, &name, base, home));
        match source {
            Some(source) => drop(layers.secrets.insert(name, (source, origin.clone()))),
            None => warnings.push(format!(
                "{origin}: `{SECRETS}.{name}` is not {FORMS}, and is ignored: this file says where values are, and has none"
            )),
        }
    }
}

fn nearest(key: &str) -> String {
    let known = SETTINGS.iter().map(|setting| setting.key);
    crate::suggest::nearest(key, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

pub(super) fn as_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}
