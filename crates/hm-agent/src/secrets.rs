//! The secrets of builds. An agent has them; they never pass the server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use hm_exec::Plan;
use hm_vm::SecretValue;

/// Where an agent has secrets from. It is asked anew for each build, so that a new value needs no new agent.
pub trait SecretProvider: Send + Sync {
    /// What there is of the secrets of these names, and of no others. It may read files.
    fn secrets(&self, names: &BTreeSet<String>) -> GivenSecrets;
}

/// What an agent has of the secrets that a plan names.
#[derive(Debug, Default)]
pub struct GivenSecrets {
    /// The values.
    pub values: BTreeMap<String, SecretValue>,
    /// Why others are not there, though somebody says where they are.
    pub missing: BTreeMap<String, String>,
}

/// An agent that was given no secrets.
pub(super) struct NoSecrets;

impl SecretProvider for NoSecrets {
    fn secrets(&self, _: &BTreeSet<String>) -> GivenSecrets {
        GivenSecrets::default()
    }
}

/// What there is of the secrets that a plan's steps ask for.
pub(super) async fn of_plan(provider: &Arc<dyn SecretProvider>, plan: &Plan) -> GivenSecrets {
    let steps = plan.graph.steps();
    let asked = steps.flat_map(|(_, step)| step.secrets.iter().map(|secret| secret.name.clone()));
    let asked: BTreeSet<String> = asked.collect();
    if asked.is_empty() {
        return GivenSecrets::default();
    }
    let provider = Arc::clone(provider);
    let given = tokio::task::spawn_blocking(move || provider.secrets(&asked)).await;
    given.unwrap_or_else(|error| {
        tracing::error!(%error, "the secrets of a build cannot be had");
        GivenSecrets::default()
    })
}

impl GivenSecrets {
    /// What people read of a build that an agent cannot run without this secret.
    pub(super) fn explain(&self, agent: &str, step: &str, secret: &str) -> String {
        let mut words = format!("step `{step}` asks for the secret `{secret}`, ");
        // Writing to a text cannot fail.
        let _ = match self.missing.get(secret) {
            Some(why) => write!(words, "and the agent `{agent}` cannot have it: {why}"),
            None => write!(
                words,
                "which the agent `{agent}` does not have: add it to its `--secrets-file`, or have the build go to an \
                 agent that has it, by a label in the plan"
            ),
        };
        words
    }
}
