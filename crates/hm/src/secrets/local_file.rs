//! Files of values: `.hm/secrets.toml`, for this worktree alone, and an agent's, which looks the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hm_vm::SecretValue;

use crate::fail::{Failure, Result};
use crate::secret_source::is_name;

const FILE: &str = ".hm/secrets.toml";

/// `git check-ignore` found that git would take the file.
const NOT_IGNORED: i32 = 1;

/// Where it lies, whether or not it is there.
pub fn path(root: &Path) -> PathBuf {
    root.join(FILE)
}

/// The secrets that it has values for.
///
/// # Errors
/// As [`read`], but that git may know the file.
pub fn names(root: &Path) -> Result<Vec<String>> {
    Ok(of_worktree(root)?.into_keys().collect())
}

/// Its values; none when it is not there.
///
/// # Errors
/// When it cannot be read, is not TOML, has anything but texts, or when git has it or would take it.
pub fn read(root: &Path) -> Result<BTreeMap<String, SecretValue>> {
    let values = of_worktree(root)?;
    if !values.is_empty() {
        refuse_where_git_takes_it(root)?;
    }
    Ok(values)
}

/// The values of an agent's file.
///
/// # Errors
/// As [`read`], but that git may know the file; and when it is not there.
pub fn read_agents(path: &Path) -> Result<BTreeMap<String, SecretValue>> {
    let text = std::fs::read_to_string(path).map_err(Failure::io("cannot read", path))?;
    parse(path, &text)
}

fn of_worktree(root: &Path) -> Result<BTreeMap<String, SecretValue>> {
    let path = path(root);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Failure::io("cannot read", path)(error)),
    }
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, SecretValue>> {
    // TOML's own words would show the line.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        Failure::plain_usage(format!("{}:{line}: not TOML", path.display()))
    })?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let toml::Value::String(value) = value else {
            return Err(Failure::usage(
                format!("{}: `{name}` is no text", path.display()),
                [format!("write `{name} = \"value\"`")],
            ));
        };
        if !is_name(&name) {
            return Err(Failure::plain_usage(format!(
                "{}: `{name}` is no name of a secret: it has letters, digits and `_`, and does not begin with a digit",
                path.display()
            )));
        }
        values.insert(name, SecretValue::new(value));
    }
    Ok(values)
}

/// Where there is no git, nothing is taken.
fn refuse_where_git_takes_it(root: &Path) -> Result<()> {
    let asked = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["check-ignore", "--quiet", "--", FILE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if asked.is_ok_and(|status| status.code() == Some(NOT_IGNORED)) {
        return Err(Failure::usage(
            format!("{} has secrets, and git does not ignore it", path(root).display()),
            [
                format!("`echo /{FILE} >> .gitignore` makes git ignore it"),
                format!(
                    "`git rm --cached {FILE}` makes git forget it, where it was committed: then change the secrets"
                ),
            ],
        ));
    }
    Ok(())
}
