//! The table of registries: `[registries."localhost:5000"]`.

use std::collections::BTreeMap;

use hm_oci::RegistrySettings;

use super::setting::{REGISTRIES, REGISTRY_SETTINGS, RegistrySetting};
use super::words::{PULL_WORDS, as_text, parse_flag, parse_pull};
use super::{Layers, Origin};
use crate::config_error::ConfigError;
use crate::environment::Environment;

/// What stands between mirrors where they are one text.
const BETWEEN: &str = ", ";

/// Reads one registry's table of a file.
pub(super) fn take_table(
    registry: &str,
    value: toml::Value,
    origin: &Origin,
    layers: &mut Layers,
    warnings: &mut Vec<String>,
) {
    let toml::Value::Table(entries) = value else {
        warnings.push(format!(
            "{origin}: `{REGISTRIES}.{registry}` is no table; write `[{REGISTRIES}.\"{registry}\"]`"
        ));
        return;
    };
    for (name, value) in entries {
        let known = REGISTRY_SETTINGS.iter().find(|setting| setting.key == name);
        match (known, text_of(value)) {
            (Some(setting), Some(text)) => layers.set_registry(registry, setting.key, text, origin.clone()),
            _ => {
                let keys = REGISTRY_SETTINGS.iter().map(|setting| setting.key);
                let near = crate::suggest::nearest(&name, keys)
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                warnings.push(format!(
                    "{origin}: unknown key `{name}` of the registry `{registry}`{near}"
                ));
            }
        }
    }
}

/// Reads the variables.
///
/// # Errors
/// When one is not written as it has to be.
pub(super) fn take_environment(environment: &Environment, layers: &mut Layers) -> Result<(), ConfigError> {
    for setting in REGISTRY_SETTINGS {
        let text = environment.get(setting.env).unwrap_or_default();
        let origin = Origin::Environment(setting.env);
        // Several of one registry are a list, in their order.
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (registry, value) = pair(setting, part).ok_or_else(|| ConfigError::Value {
                key: format!("{REGISTRIES}.*.{}", setting.key),
                value: part.into(),
                origin: origin.to_string(),
                message: format!("not understood: {}", setting.env_form),
            })?;
            values.entry(registry).or_default().push(value);
        }
        for (registry, values) in values {
            layers.set_registry(registry, setting.key, values.join(BETWEEN), origin.clone());
        }
    }
    Ok(())
}

fn pair<'a>(setting: &RegistrySetting, part: &'a str) -> Option<(&'a str, &'a str)> {
    if setting.key == "plain_http" {
        return Some(part.split_once('=').unwrap_or((part, "true")));
    }
    part.split_once('=')
        .filter(|(registry, value)| !registry.is_empty() && !value.is_empty())
}

fn text_of(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items.into_iter().map(as_text).collect();
            Some(items?.join(BETWEEN))
        }
        value => as_text(value),
    }
}

/// All registries of which something is set, checked.
///
/// # Errors
/// A value that makes no sense, and who set it.
pub(super) fn check(layers: &Layers) -> Result<BTreeMap<String, RegistrySettings>, ConfigError> {
    let mut registries: BTreeMap<String, RegistrySettings> = BTreeMap::new();
    for (registry, key, value, origin) in layers.registries() {
        let settings = registries.entry(registry.to_owned()).or_default();
        let refused = |wanted: &str| ConfigError::Value {
            key: format!("{REGISTRIES}.\"{registry}\".{key}"),
            value: value.into(),
            origin: origin.to_string(),
            message: format!("not {wanted}"),
        };
        if registry.is_empty() || registry.contains('/') {
            return Err(refused(
                "of a registry: its name is a host and perhaps a port, such as `localhost:5000`",
            ));
        }
        match key {
            "mirrors" => {
                let mirrors = value.split(',').map(str::trim);
                settings.mirrors = mirrors
                    .filter(|mirror| !mirror.is_empty())
                    .map(str::to_owned)
                    .collect();
            }
            "plain_http" => {
                let flag = parse_flag(value).ok_or_else(|| refused("`true` or `false`"))?;
                settings.plain_http = Some(flag);
            }
            _ => {
                let pull = parse_pull(value).ok_or_else(|| refused(PULL_WORDS))?;
                settings.pull = Some(pull);
            }
        }
    }
    Ok(registries)
}
