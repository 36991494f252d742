//! From the names in a plan to values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hm_exec::{BackendError, Plan};
use hm_pipeline_ir::SecretUse;
use hm_vm::SecretValue;

use super::local_file;
use crate::choices::BackendChoice;
use crate::config::{Config, Layers};
use crate::context::Context;
use crate::environment::Environment;
use crate::fail::{Failure, Result};
use crate::secret_source::SecretSource;

/// More than any secret has; what is longer is refused by name later.
const MOST: u64 = 1 << 20;

/// What could be had of the secrets that a plan asks for.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The values.
    pub values: BTreeMap<String, SecretValue>,
    /// Why others are not there, though somebody says where they are.
    pub unresolved: BTreeMap<String, String>,
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

/// Where the values of secrets are.
#[derive(Debug, Clone)]
pub struct SecretSources {
    /// What `--secret` says.
    flags: BTreeMap<String, SecretSource>,
    /// An agent's file of values.
    file: Option<PathBuf>,
    /// The worktree with a `.hm/secrets.toml`.
    root: Option<PathBuf>,
    layers: Layers,
    environment: Environment,
}

impl SecretSources {
    /// All that is configured, and `flags` over it.
    pub fn new(context: &Context, root: Option<&Path>, flags: &BTreeMap<String, SecretSource>) -> Self {
        Self {
            flags: flags.clone(),
            file: None,
            root: root.map(Path::to_owned),
            layers: context.layers.clone(),
            environment: context.environment.clone(),
        }
    }

    /// The same, with an agent's file of values over `.hm/secrets.toml`.
    #[must_use]
    pub fn with_file(self, file: Option<PathBuf>) -> Self {
        Self { file, ..self }
    }

    /// The secrets that somebody says where they are.
    ///
    /// # Errors
    /// When a file of values cannot be used.
    pub fn names(&self) -> Result<BTreeSet<String>> {
        let mut names: BTreeSet<String> = self.values()?.into_keys().collect();
        names.extend(self.flags.keys().cloned());
        names.extend(self.layers.secrets().map(|(name, ..)| name.to_owned()));
        Ok(names)
    }

    /// Reads the secrets that are asked for, and no others.
    ///
    /// # Errors
    /// When a file of values cannot be used.
    pub fn resolve<'a>(&self, asked: impl IntoIterator<Item = &'a str>) -> Result<Resolved> {
        let mut asked = asked.into_iter().peekable();
        let mut resolved = Resolved::default();
        if asked.peek().is_none() {
            return Ok(resolved);
        }
        let mut values = self.values()?;
        for name in asked {
            let value = match (self.flags.get(name), values.remove(name)) {
                (None, Some(value)) => Ok(value),
                (Some(source), _) => self.read(source, "--secret"),
                (None, None) => match self.layers.secret(name) {
                    Some((source, origin)) => self.read(source, &origin.to_string()),
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

    fn values(&self) -> Result<BTreeMap<String, SecretValue>> {
        let mut values = match &self.root {
            Some(root) => local_file::read(root)?,
            None => BTreeMap::new(),
        };
        if let Some(file) = &self.file {
            values.extend(local_file::read_agents(file)?);
        }
        Ok(values)
    }

    fn read(&self, source: &SecretSource, said_by: &str) -> Result<SecretValue, String> {
        match source {
            SecretSource::Variable(name) => match self.environment.get(name) {
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
    SecretSources::new(context, Some(root), flags).resolve(asked)
}

/// What a run is given: on a server nothing, for its agents have what the steps ask for.
///
/// # Errors
/// As [`resolve`]; and where `flags` would have a secret sent to a server.
pub fn of_run(
    context: &Context,
    config: &Config,
    root: &Path,
    plan: &Plan,
    flags: &BTreeMap<String, SecretSource>,
) -> Result<Resolved> {
    if config.backend != Some(BackendChoice::Cloud) {
        return resolve(context, root, asked(plan), flags);
    }
    match flags.keys().next() {
        Some(name) => Err(Failure::usage(
            format!("--secret {name}: no secret is sent to a server"),
            [
                "leave it out: the agent that runs the build gives its steps the secrets that it has",
                "`hm agent --secrets-file FILE` and `hm server --dev --secret NAME` say which",
            ],
        )),
        None => Ok(Resolved::default()),
    }
}
