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

/// Reads `20GiB`, `512M` or a bare number of bytes.
///
/// # Errors
/// When it is none of these.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.trim().parse().map_err(|_| not_a_size(text))?;
    Ok(size.as_u64())
}

fn not_a_size(text: &str) -> String {
    format!("`{text}` is not a size, such as `512MiB` or `20GiB`")
}

/// Reads `NAME=WHAT`.
///
/// # Errors
/// When there is no `=`, or nothing on one of its sides.
pub fn parse_image_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, target)) if !name.is_empty() && !target.is_empty() => Ok((name.into(), target.into())),
        _ => Err("not NAME=WHAT, such as `ubuntu:24.04=host`".into()),
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
