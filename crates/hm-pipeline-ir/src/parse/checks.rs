//! Checks that steps and services share.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{PlanError, StepKey};

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
