//! `secrets`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Field, is_variable_name};
use crate::parse::json;
use crate::parse::wire::WireSecret;
use crate::{PlanError, SecretDelivery, SecretUse, StepKey};

/// A file name in Linux is no longer.
const MAX_NAME_BYTES: usize = 255;

pub fn secrets(
    step: &StepKey,
    wire: Vec<WireSecret>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<SecretUse>, PlanError> {
    let field = Field {
        step,
        name: "secrets",
    };
    field.check_count(wire.len())?;
    let mut taken = BTreeSet::new();
    wire.into_iter()
        .map(|wire| {
            let secret = secret(field, wire)?;
            let name = &secret.name;
            let place = match &secret.delivery {
                SecretDelivery::Env(variable) if env.contains_key(variable) => {
                    return Err(field.bad(format!(
                        "the secret `{name}` is given as the variable `{variable}`, which the environment of the step or its \
                         pipeline sets too: remove it there, or give the secret another variable"
                    )));
                }
                SecretDelivery::Env(variable) => format!("the variable `{variable}`"),
                SecretDelivery::File(file) => format!("the file `{file}`"),
            };
            if taken.contains(&place) {
                return Err(field.bad(format!("two secrets are given as {place}: give one of them another place")));
            }
            taken.insert(place);
            Ok(secret)
        })
        .collect()
}

fn secret(field: Field<'_>, wire: WireSecret) -> Result<SecretUse, PlanError> {
    if !is_variable_name(&wire.name) {
        return Err(field.bad(format!(
            "{:?} is no name of a secret: it has letters, digits and `_`, and does not begin with a digit",
            json::cut(&wire.name)
        )));
    }
    let bad = |reason: String| field.bad(format!("the secret `{}` {reason}", wire.name));
    let delivery = match (wire.env, wire.file) {
        (Some(_), Some(_)) => {
            return Err(bad(
                "has both `env` and `file`: list it twice to have it as a variable and as a file".into(),
            ));
        }
        (Some(variable), None) if !is_variable_name(&variable) => {
            return Err(bad(format!(
                "cannot be given as the variable {:?}: a variable has letters, digits and `_`, and does not begin with a digit",
                json::cut(&variable)
            )));
        }
        (None, Some(file)) if !is_file_name(&file) => {
            return Err(bad(format!(
                "cannot be given as the file {:?}: it has to be a plain file name, which is put into /run/secrets",
                json::cut(&file)
            )));
        }
        (Some(variable), None) => SecretDelivery::Env(variable),
        (None, Some(file)) => SecretDelivery::File(file),
        (None, None) => SecretDelivery::Env(wire.name.clone()),
    };
    Ok(SecretUse {
        name: wire.name,
        delivery,
    })
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME_BYTES
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}
