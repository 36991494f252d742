//! Checks that steps and services share.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{PlanError, Shell, StepKey};

pub fn timeout(seconds: Option<u32>, step: Option<&StepKey>) -> Result<Option<Duration>, PlanError> {
    match seconds {
        Some(0) => Err(PlanError::ZeroTimeout { step: step.cloned() }),
        seconds => Ok(seconds.map(|seconds| Duration::from_secs(seconds.into()))),
    }
}

pub fn check_image(image: &str) -> Result<(), String> {
    if image.trim().is_empty() {
        Err("it is empty: leave the field out for the backend's default image".to_owned())
    } else if image.chars().any(char::is_control) {
        Err("it contains a control character".to_owned())
    } else {
        Ok(())
    }
}

/// The first variable that cannot be given to a process, and why.
pub fn wrong_variable(env: &BTreeMap<String, String>) -> Option<(&str, &'static str)> {
    env.iter().find_map(|(name, value)| {
        let reason = if name.is_empty() {
            "whose name is empty"
        } else if name.contains('=') {
            "whose name contains `=`"
        } else if name.contains('\0') {
            "whose name contains a NUL character"
        } else if value.contains('\0') {
            "whose value contains a NUL character"
        } else {
            return None;
        };
        Some((name.as_str(), reason))
    })
}

/// The shell that a plan names.
pub fn shell(text: Option<&str>) -> Result<Option<Shell>, String> {
    text.map(Shell::parse).transpose()
}

/// The first variable that would not reach the programs of a command because its shell drops it, and why.
pub fn dropped_variable<'a>(
    env: &'a BTreeMap<String, String>,
    shell: Option<&Shell>,
) -> Option<(&'a str, &'static str)> {
    if shell.is_some_and(Shell::passes_every_variable) {
        return None;
    }
    let name = env.keys().find(|name| !is_variable_name(name))?;
    Some((
        name,
        "which `sh` would not hand on, for it is not made of letters, digits and `_` alone or begins with a digit: name it \
         otherwise, or run the command by `\"shell\": \"bash -eo pipefail\"` (in Python `shell=\"bash\"`), which hands on every \
         variable",
    ))
}

/// Whether a shell can assign to it as a variable.
pub fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
