//! Which secrets a step is given, and what is refused before anything runs.

use std::collections::BTreeMap;

use hm_pipeline_ir::{SecretDelivery, SecretUse};
use hm_vm::{SecretValue, Secrets};

use super::scrub::Scrubber;
use super::select::{Role, Selection};
use crate::{BackendError, Result, RunRequest};

/// Linux takes no longer variable, with its name, an `=` and a NUL.
const LONGEST_VARIABLE: usize = 128 * 1024 - 1;

/// Checks that every step that may run can be given its secrets, and learns what to mask.
pub(super) fn check(request: &RunRequest, selection: &Selection) -> Result<Scrubber> {
    for (index, step) in request.plan.graph.steps() {
        if selection.roles[index.as_usize()] == Role::Outside {
            continue;
        }
        for wanted in &step.secrets {
            let Some(value) = request.secrets.get(&wanted.name) else {
                return Err(BackendError::MissingSecret {
                    step: step.key.to_string(),
                    secret: wanted.name.clone(),
                });
            };
            let SecretDelivery::Env(variable) = &wanted.delivery else {
                continue;
            };
            let refused = |why: &str| {
                rejected(format!(
                    "step `{}` is to be given the secret `{}` as the variable {variable}, which it cannot be: {why}; let the \
                     step have it as a file",
                    step.key, wanted.name
                ))
            };
            if value.expose().contains(&0) {
                return Err(refused("it contains a NUL byte"));
            }
            if variable.len() + 1 + value.expose().len() > LONGEST_VARIABLE {
                return Err(refused("it is longer than a variable may be"));
            }
        }
    }
    Scrubber::new(&request.secrets).map_err(rejected)
}

fn rejected(message: String) -> BackendError {
    BackendError::Rejected {
        code: "secret".into(),
        message,
    }
}

/// What a command is given of `values`: what `wanted` asks for, and nothing else.
pub(super) fn give_secrets(wanted: &[SecretUse], values: &BTreeMap<String, SecretValue>) -> Secrets {
    let mut given = Secrets::default();
    for secret in wanted {
        let Some(value) = values.get(&secret.name) else {
            continue;
        };
        let (place, name) = match &secret.delivery {
            SecretDelivery::Env(variable) => (&mut given.env, variable),
            SecretDelivery::File(file) => (&mut given.files, file),
        };
        place.insert(name.clone(), value.clone());
    }
    given
}
