//! `hm agent`: runs a server's builds on this machine.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harmont_client::{HarmontClient, SourceHosts};
use hm_agent::{Agent, AgentConfig};
use hm_exec::{ExecutionBackend, LocalBackend, RunOptions};
use hm_vm::ImageMap;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::cloud::{read_token, token_in};
use crate::backend::{Machines, sources};
use crate::cli::AgentArgs;
use crate::config::{Config, server_url};
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::secrets::agents_secrets;
use crate::signals::Signals;
use crate::{env_vars, exit};

/// Runs builds until it is told to end.
///
/// # Errors
/// When this machine cannot run builds, or the server does not take the agent.
pub fn agent(context: &Context, args: &AgentArgs) -> Result<u8> {
    let config = context.config()?;
    let server = server_url(&args.server)
        .ok_or_else(|| Failure::plain_usage(format!("`{}` is no URL of a server", args.server)))?;
    let token = match (
        &args.token_file,
        context.environment.get(env_vars::HM_AGENT_TOKEN),
    ) {
        (Some(file), _) => read_token(context, file)?,
        (None, Some(token)) => SecretString::from(token),
        (None, None) => {
            return Err(Failure::usage(
                "the agent has no token",
                [
                    "`hm cloud agent-token` makes one",
                    "give it in HM_AGENT_TOKEN, or in a file by --token-file",
                ],
            ));
        }
    };
    let mut client = HarmontClient::with_base_url(token.expose_secret(), &server);
    if let Some(file) = args.token_file.as_deref().filter(|file| *file != Path::new("-")) {
        let path = context.environment.cwd.join(file);
        client = client.renewing(move || token_in(&path).ok());
    }
    let secrets = agents_secrets(context, &args.secrets)?;
    let agent_config = AgentConfig {
        name: args.name.clone(),
        labels: args.labels(),
        concurrency: args.concurrency,
        data_dir: config.data_dir.join("agents").join(file_name(&args.name)),
    };
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let machines = Machines::new(context, &config)?;
        machines.say_why(context);
        // A directory has one agent: it clears what an earlier one left.
        let _alone = lock(&agent_config.data_dir)?;
        // So does this, of an agent that was killed: a machine with little to build would keep it for long.
        if let Err(error) = machines.vm().reclaim().await {
            context.printer.warning(&error.to_string());
        }
        let agent = Agent::new(
            client,
            agent_config,
            agents_backend(context, &config, &machines, args.concurrency),
        )
        .with_source_hosts(SourceHosts::new(args.source_hosts.iter().map(String::as_str)))
        .with_secrets(secrets)
        .with_defaults(agents_defaults(context, &config));
        let ended = until_told(context, agent, &server).await;
        machines.vm().shutdown().await;
        ended
    });
    runtime.shutdown_background();
    ended.map(|()| exit::PASSED)
}

async fn until_told(context: &Context, agent: Agent, server: &str) -> Result<()> {
    let mut signals = Signals::take_over().map_err(Failure::io("cannot handle", "Ctrl-C"))?;
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let working = agent.run(drain.clone(), stop.clone());
    tokio::pin!(working);
    let printer = context.printer;
    printer.note(&format!("waiting for builds of {server}"));
    loop {
        tokio::select! {
            ended = &mut working => return ended.map_err(|error| Failure::Server(error.into())),
            () = signals.next() => {
                if drain.is_cancelled() {
                    printer.note("giving the builds back");
                    stop.cancel();
                } else {
                    printer.note("no new builds; ending when those that run have ended; once more gives them back");
                    drain.cancel();
                }
            }
        }
    }
}

/// The backend of an agent over the machines here. What a source has was chosen where the build was submitted.
pub(super) fn agents_backend(
    context: &Context,
    config: &Config,
    machines: &Machines,
    concurrency: NonZeroUsize,
) -> Arc<dyn ExecutionBackend> {
    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let each = NonZeroUsize::new(processors.get() / concurrency).unwrap_or(NonZeroUsize::MIN);
    let parallelism = config.parallelism.unwrap_or(each);
    let local = LocalBackend::new(parallelism, machines.vm(), config.data_dir.clone())
        .capping_parallelism()
        .with_budget(config.cache)
        .with_sources(sources(context, config).taking_ignored());
    Arc::new(local)
}

/// What of the configuration here holds for builds that say nothing of it.
pub(super) fn agents_defaults(context: &Context, config: &Config) -> RunOptions {
    let mut images = ImageMap::default();
    for (name, target) in config.images.iter() {
        // Seen from where the agent was started, and not from a build's source.
        images.insert(name.clone(), target.seen_from(&context.environment.cwd));
    }
    RunOptions {
        network: config.network,
        limits: config.limits.clone(),
        artifact_bytes: config.artifact_bytes,
        grace: config.grace,
        images,
        ..RunOptions::default()
    }
}

/// A directory's name for any name of an agent.
fn file_name(name: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    name.chars().map(safe).take(64).collect()
}

/// Holds a directory, which is made, for this process alone.
pub(super) fn lock(directory: &PathBuf) -> Result<std::fs::File> {
    use std::os::unix::fs::DirBuilderExt;

    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(directory)
        .map_err(Failure::io("cannot create", directory))?;
    let path = directory.join("lock");
    let file = std::fs::File::create(&path).map_err(Failure::io("cannot create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::plain_usage(format!(
            "{} is in use by another process",
            directory.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(Failure::io("cannot lock", &path)(error)),
    }
}
