//! Asks for builds, as many at a time as the agent may run.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use harmont_client::{HarmontClient, HarmontError, SourceHosts};
use hm_exec::{ExecutionBackend, RunOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::build::Running;
use super::holding::POLL;
use super::secrets::{NoSecrets, SecretProvider};

/// How an agent works.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// What it calls itself; people read it in a build's log.
    pub name: String,
    /// What it has: a build whose plan has labels goes to an agent that has them all.
    pub labels: BTreeSet<String>,
    /// How many builds it runs at once.
    pub concurrency: NonZeroUsize,
    /// Where it unpacks sources; absolute.
    pub data_dir: PathBuf,
}

/// Why an agent ends before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The server takes no such agent.
    #[error("the server does not take this agent: {0}; make a token for it with `hm cloud agent-token`")]
    Refused(#[source] HarmontError),
    /// What an earlier agent left cannot be removed, or nothing can be kept here.
    #[error("cannot use {}: {source}", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// An agent.
pub struct Agent {
    client: HarmontClient,
    config: AgentConfig,
    backend: Arc<dyn ExecutionBackend>,
    secrets: Arc<dyn SecretProvider>,
    defaults: RunOptions,
    hosts: SourceHosts,
}

impl Agent {
    /// An agent that asks by `client`, which has an agent's token, and runs builds on `backend`: one whose source store
    /// takes ignored files too, for what a build's source has was chosen where it was submitted.
    #[must_use]
    pub fn new(client: HarmontClient, config: AgentConfig, backend: Arc<dyn ExecutionBackend>) -> Self {
        Self {
            client,
            config,
            backend,
            secrets: Arc::new(NoSecrets),
            defaults: RunOptions::default(),
            hosts: SourceHosts::default(),
        }
    }

    /// The same, which gives builds the secrets that `provider` has and their plans name. Whoever may submit builds that
    /// come to this agent can have them.
    #[must_use]
    pub fn with_secrets(self, provider: Arc<dyn SecretProvider>) -> Self {
        Self {
            secrets: provider,
            ..self
        }
    }

    /// The same, with settings of its own: the limits and the network of `defaults` bound what a build asks for; its images, and
    /// what an artifact may have, hold where a build asks for nothing.
    #[must_use]
    pub fn with_defaults(self, defaults: RunOptions) -> Self {
        Self { defaults, ..self }
    }

    /// The same, which fetches sources that lie elsewhere than on the server from these hosts, and from no others.
    #[must_use]
    pub fn with_source_hosts(self, hosts: SourceHosts) -> Self {
        Self { hosts, ..self }
    }

    /// Works until `drain`, and then ends what it runs; `stop` has it give its builds back at once.
    ///
    /// # Errors
    /// [`AgentError`]; a server that cannot be reached is asked again.
    pub async fn run(self, drain: CancellationToken, stop: CancellationToken) -> Result<(), AgentError> {
        let builds = self.config.data_dir.join("builds");
        clear(&builds).map_err(|source| AgentError::Data { path: builds, source })?;
        let agent = Arc::new(self);
        let mut slots = JoinSet::new();
        for _ in 0..agent.config.concurrency.get() {
            let (agent, drain, stop) = (Arc::clone(&agent), drain.clone(), stop.clone());
            slots.spawn(async move { agent.slot(&drain, &stop).await });
        }
        let mut ended = Ok(());
        while let Some(slot) = slots.join_next().await {
            let slot = slot.unwrap_or(Ok(()));
            if slot.is_err() {
                // The others would hear the same.
                drain.cancel();
                ended = ended.and(slot);
            }
        }
        ended
    }

    /// Runs one build after another.
    async fn slot(&self, drain: &CancellationToken, stop: &CancellationToken) -> Result<(), AgentError> {
        let mut pauses = super::pauses();
        while !drain.is_cancelled() && !stop.is_cancelled() {
            let asked = tokio::select! {
                asked = self.client.lease(&self.config.name, &self.config.labels, POLL) => asked,
                () = drain.cancelled() => return Ok(()),
                () = stop.cancelled() => return Ok(()),
            };
            match asked {
                Ok(Some(lease)) => {
                    pauses = super::pauses();
                    let name = format!("{}-{}", lease.build_id, lease.attempt);
                    let running = Running {
                        client: &self.client,
                        backend: self.backend.as_ref(),
                        secrets: &self.secrets,
                        defaults: &self.defaults,
                        hosts: &self.hosts,
                        agent: &self.config.name,
                        lease,
                        directory: self.config.data_dir.join("builds").join(name),
                    };
                    running.run(stop).await;
                }
                Ok(None) => pauses = super::pauses(),
                Err(error @ (HarmontError::Unauthorized | HarmontError::Forbidden { .. })) => {
                    return Err(AgentError::Refused(error));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot ask for builds; asking again");
                    tokio::select! {
                        () = super::rest(&mut pauses) => {}
                        () = drain.cancelled() => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// An empty directory: what is there was left by an agent that was killed. One directory has one agent.
fn clear(directory: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    hm_fs::create_private(directory)
}
