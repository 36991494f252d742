//! Single values, as people write them.

use hm_oci::PullPolicy;

/// A value of a file as text; nothing for what is no single value.
pub(super) fn as_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

/// A list of paths, or one, as a variable has it.
pub(super) fn as_paths(value: toml::Value) -> Option<String> {
    let toml::Value::Array(paths) = value else {
        return as_text(value);
    };
    let paths: Option<Vec<_>> = paths
        .into_iter()
        .map(|path| match path {
            toml::Value::String(path) if !path.contains(':') => Some(path),
            _ => None,
        })
        .collect();
    Some(paths?.join(":"))
}

/// Reads what stands for yes and no.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// What [`parse_pull`] takes.
pub(super) const PULL_WORDS: &str = "one of `always`, `missing`, `never`";

/// When registries are asked.
pub(super) fn parse_pull(text: &str) -> Option<PullPolicy> {
    match text {
        "always" => Some(PullPolicy::Always),
        "missing" => Some(PullPolicy::Missing),
        "never" => Some(PullPolicy::Never),
        _ => None,
    }
}
