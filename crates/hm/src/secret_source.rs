//! What says where a secret's value is to be had.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::fail::{Failure, Result};

/// What a source looks like, for messages.
pub const FORMS: &str = "`env:VARIABLE` or `file:PATH`";

/// Where a value is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The variable of this name.
    Variable(String),
    /// This file, all of it.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl SecretSource {
    /// Reads `env`, `env:VARIABLE` or `file:PATH`; none when it is something else, which may be a value and must not be
    /// shown. A relative path is seen from `base`.
    #[must_use]
    pub fn parse(text: &str, secret: &str, base: &Path, home: Option<&Path>) -> Option<Self> {
        if text == "env" {
            return Some(Self::Variable(secret.to_owned()));
        }
        match text.split_once(':')? {
            ("env", name) if is_name(name) => Some(Self::Variable(name.to_owned())),
            ("file", path) if !path.is_empty() => {
                let below_home = path.strip_prefix("~/").zip(home);
                Some(Self::File(match below_home {
                    Some((rest, home)) => home.join(rest),
                    None => base.join(path),
                }))
            }
            _ => None,
        }
    }
}

/// Whether it can be the name of a variable, and so of a secret.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads `--secret NAME`, `NAME=env:VARIABLE` and `NAME=file:PATH`.
///
/// # Errors
/// When it is none of these. What stands behind the `=` may be a value, and is not shown.
pub fn parse_flags(flags: &[String], environment: &Environment) -> Result<BTreeMap<String, SecretSource>> {
    let mut sources = BTreeMap::new();
    let home = environment.home();
    for flag in flags {
        let (name, source) = flag.split_once('=').unwrap_or((flag, "env"));
        if !is_name(name) {
            return Err(Failure::plain_usage(
                "--secret: a secret's name has letters, digits and `_`, and does not begin with a digit",
            ));
        }
        let Some(source) = SecretSource::parse(source, name, &environment.cwd, home.as_deref()) else {
            return Err(Failure::usage(
                format!("--secret {name}=: not {FORMS}"),
                [format!(
                    "a value on the command line is seen by every process of this machine: put it into a variable, and say \
                     `--secret {name}=env:VARIABLE`"
                )],
            ));
        };
        sources.insert(name.to_owned(), source);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_variable_or_a_file() {
        let parse = |text: &str| {
            SecretSource::parse(text, "TOKEN", Path::new("/base"), Some(Path::new("/home/u")))
                .map(|source| source.to_string())
        };
        for (text, wanted) in [
            ("env", Some("env:TOKEN")),
            ("env:OTHER", Some("env:OTHER")),
            ("file:key", Some("file:/base/key")),
            ("file:/key", Some("file:/key")),
            ("file:~/key", Some("file:/home/u/key")),
            ("file:", None),
            ("env:", None),
            ("env:a value", None),
            ("ghp_value", None),
            ("https://user:password@host", None),
        ] {
            assert_eq!(parse(text).as_deref(), wanted, "{text}");
        }
    }
}
