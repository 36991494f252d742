//! From the names in a plan to values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hm_exec::{BackendError, Plan};
use hm_pipeline_ir::SecretUse;
use hm_vm::SecretValue;

use super::SecretSource;
use super::local_file;
use crate::context::Context;
use crate::fail::{Failure, Result};

/// More than any secret has; what is longer is refused by name later.
const MOST: u64 = 1 << 20;

/// What could be had of the secrets that a plan asks for.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The values.
    pub values: BTreeMap<String, SecretValue>,
    /// Why others are not there, though somebody says where they are.
    unresolved: BTreeMap<String, String>,
}

impl Resolved {
    /// The failure of a build that could not be started, with why a secret is missing.
    pub fn explain(&self, error: BackendError) -> Failure {
        match &error {
            BackendError::MissingSecret { step, secret } => match self.unresolved.get(secret) {
                Some(why) => {
                    Failure::plain_usage(format!("step `{step}` needs the secret `{secret}`, but {why}"))
                }
                None => error.into(),
            },
            _ => error.into(),
        }
    }
}

/// What a plan's steps ask for.
pub fn asked(plan: &Plan) -> impl Iterator<Item = &SecretUse> {
    plan.graph.steps().flat_map(|(_, step)| &step.secrets)
}

/// Reads the secrets that are asked for, and no others. `flags` go over all that is configured; one that no step
/// asks for is told.
///
/// # Errors
/// When `.hm/secrets.toml` cannot be used.
pub fn resolve<'a>(
    context: &Context,
    root: &Path,
    asked: impl IntoIterator<Item = &'a SecretUse>,
    flags: &BTreeMap<String, SecretSource>,
) -> Result<Resolved> {
    let asked: BTreeSet<&str> = asked.into_iter().map(|secret| secret.name.as_str()).collect();
    for name in flags.keys().filter(|name| !asked.contains(name.as_str())) {
        context
            .printer
            .warning(&format!("no step asks for the secret `{name}` of --secret"));
    }
    let mut resolved = Resolved::default();
    if asked.is_empty() {
        return Ok(resolved);
    }
    let mut local = local_file::read(root)?;
    for name in asked {
        let value = match (flags.get(name), local.remove(name)) {
            (None, Some(value)) => Ok(value),
            (Some(source), _) => read(context, source, "--secret"),
            (None, None) => match context.layers.secret(name) {
                Some((source, origin)) => read(context, source, &origin.to_string()),
                None => continue,
            },
        };
        match value {
            Ok(value) => drop(resolved.values.insert(name.to_owned(), value)),
            Err(why) => drop(resolved.unresolved.insert(name.to_owned(), why)),
        }
    }
    Ok(resolved)
}

fn read(context: &Context, source: &SecretSource, said_by: &str) -> Result<SecretValue, String> {
    match source {
        SecretSource::Variable(name) => match context.environment.get(name) {
            Some(value) => Ok(SecretValue::new(value)),
            None => Err(format!(
                "the variable {name} is not set ({said_by} takes it from there)"
            )),
        },
        SecretSource::File(path) => {
            let mut value = Vec::new();
            let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut value));
            match read {
                Ok(_) => Ok(SecretValue::new(value)),
                Err(error) => Err(format!(
                    "{} cannot be read ({said_by} takes it from there): {error}",
                    path.display()
                )),
            }
        }
    }
}
