//! What an agent gives the builds of a server.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use hm_agent::{GivenSecrets, SecretProvider};

use super::{Resolved, SecretSources};
use crate::cli::AgentSecretArgs;
use crate::context::Context;
use crate::fail::Result;
use crate::secret_source::parse_flags;

impl SecretProvider for SecretSources {
    fn secrets(&self, names: &BTreeSet<String>) -> GivenSecrets {
        match self.resolve(names.iter().map(String::as_str)) {
            Ok(Resolved { values, unresolved }) => GivenSecrets {
                values,
                missing: unresolved,
            },
            Err(failure) => {
                let why = failure.report().message;
                GivenSecrets {
                    missing: names.iter().map(|name| (name.clone(), why.clone())).collect(),
                    ..GivenSecrets::default()
                }
            }
        }
    }
}

/// Where an agent has secrets from; says which ones, for whoever may submit builds to the agent can have them.
///
/// # Errors
/// When a flag or a file of values cannot be used.
pub fn agents_secrets(context: &Context, args: &AgentSecretArgs) -> Result<Arc<dyn SecretProvider>> {
    let flags = parse_flags(&args.secrets.secret, &context.environment)?;
    let file = args
        .secrets_file
        .as_ref()
        .map(|file| context.environment.cwd.join(file));
    let printer = context.printer;
    if let Some(file) = &file
        && let Ok(metadata) = file.metadata()
        && metadata.permissions().mode() & 0o077 != 0
    {
        let file = file.display();
        printer.warning(&format!(
            "others on this machine can read {file}: `chmod 600 {file}` ends that"
        ));
    }
    let sources = SecretSources::new(context, context.maybe_root(), &flags).with_file(file);
    let names: Vec<String> = sources.names()?.into_iter().collect();
    if !names.is_empty() {
        printer.note(&format!(
            "builds that ask are given the secrets {}",
            names.join(", ")
        ));
    }
    Ok(Arc::new(sources))
}
