//! Fills the layers from files and the environment.

use std::ffi::OsStr;
use std::path::Path;

use super::setting::{IMAGES, OF_USER, PATHS, REGISTRIES, SECRETS, SETTINGS, by_key};
use super::words::{as_paths, as_text};
use super::{Layers, Origin, registries};
use crate::choices::parse_image_pair;
use crate::config_error::ConfigError;
use crate::env_vars;
use crate::environment::Environment;
use crate::secret_source::{FORMS, SecretSource};

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
        let (name, target) = parse_image_pair(pair).map_err(|message| ConfigError::Value {
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
    if OF_USER.contains(&key.as_str())
        && matches!(origin, Origin::File(path) if path.parent().and_then(Path::file_name) == Some(OsStr::new(".hm")))
    {
        warnings.push(format!(
            "{origin}: `{key}` is not for a repository's file, and is ignored"
        ));
        return;
    }
    let text = if PATHS.contains(&key.as_str()) {
        as_paths(value)
    } else {
        as_text(value)
    };
    match (text, section) {
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
            Some(source) => layers.set_secret(name, source, origin.clone()),
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
