//! `hm server`: takes builds and gives them to agents.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use harmont_client::{HarmontClient, HarmontError};
use hm_agent::{Agent, AgentConfig};
use hm_server::{Secret, Server, ServerConfig, ServerError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::agent::{agents_backend, agents_defaults, lock};
use super::cloud::login_link;
use super::open_files;
use crate::backend::Machines;
use crate::cli::{ServerArgs, ServerCommand};
use crate::cloud::write_private;
use crate::config::{Config, server_url};
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::secrets::agents_secrets;
use crate::signals::Signals;

/// Who is logged in by `--dev`, and where.
const DEV_EMAIL: &str = "dev@localhost";
const DEV_ORG: &str = "dev";
/// How long the token of `--dev` is good.
const DEV_TOKEN: TimeDelta = TimeDelta::days(7);
/// How long a session is good that `hm server token` makes.
const SESSION: TimeDelta = TimeDelta::days(90);
/// Below this an agent that is alive would be taken for lost.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// That agent ends with the server: whoever starts it again shall not wait long for the build that it had.
const DEV_LEASE: Duration = Duration::from_secs(3);
/// How many builds the agent of `--dev` runs at once.
const DEV_BUILDS: NonZeroUsize = NonZeroUsize::MIN;

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}

/// Serves until it is told to end, or makes a token.
///
/// # Errors
/// When the data directory cannot be used, or nobody can listen there.
pub fn server(context: &Context, args: &ServerArgs) -> Result<u8> {
    let config = context.config()?;
    if !args.dev && !args.secrets.is_empty() {
        return Err(Failure::usage(
            "--secret and --secrets-file are for `--dev`: a server never has secrets",
            ["give them to the agents: `hm agent --secrets-file FILE`"],
        ));
    }
    let temporary = match (&args.data, args.dev && args.command.is_none()) {
        (None, true) => {
            let made = tempfile::Builder::new().prefix("hm-server-").tempdir();
            Some(made.map_err(Failure::io("cannot create", "a temporary directory"))?)
        }
        _ => None,
    };
    let data = match (&args.data, &temporary) {
        (Some(data), _) => context.environment.cwd.join(data),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => config.data_dir.join("server"),
    };
    let _alone = lock(&data)?;
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        match &args.command {
            Some(ServerCommand::Token { email, org, .. }) => {
                token(context, &data, email.as_deref(), org).await
            }
            None => serve(context, &config, args, data).await,
        }
    });
    runtime.shutdown_background();
    ended.map(|()| exit::PASSED)
}

/// Prints a token.
async fn token(context: &Context, data: &Path, email: Option<&str>, org: &str) -> Result<()> {
    // Nobody is served, so that no URL matters.
    let server = Server::open(ServerConfig::new(data.to_owned(), "http://localhost")).await?;
    let secret = match email {
        Some(email) => server.login(email, org, Some(Utc::now() + SESSION)).await?,
        None => server.agent_token(org, "hm server token --agent").await?,
    };
    let text = format!("{}\n", secret.reveal());
    context.printer.data(&text).map_err(Failure::Output)
}

async fn serve(context: &Context, config: &Config, args: &ServerArgs, data: PathBuf) -> Result<()> {
    let mut signals = Signals::take_over().map_err(Failure::io("cannot handle", "Ctrl-C"))?;
    check_reach(context, args)?;
    let address = args.listen.to_string();
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(Failure::io("cannot listen at", &address))?;
    let address = listener
        .local_addr()
        .map_err(Failure::io("cannot listen at", &address))?;
    let here = format!("http://{address}");
    let url = match &args.public_url {
        Some(url) => server_url(url)
            .ok_or_else(|| Failure::plain_usage(format!("--public-url {url}: not a URL of a server")))?,
        None => here.clone(),
    };
    refuse_a_path(&url)?;
    let is_new = !data.join("hm.sqlite").exists();
    let mut server_config = ServerConfig::new(data.clone(), &url);
    let usual = if args.dev {
        DEV_LEASE
    } else {
        server_config.agents.lease
    };
    server_config.agents.lease = args.lease.unwrap_or(usual).max(SHORTEST_LEASE);
    server_config.keep = args.keep();
    server_config.trusted_proxies.clone_from(&args.trusted_proxies);
    let server = Arc::new(Server::open(server_config).await?);
    let printer = context.printer;
    let (stop_serving, stop_building) = (CancellationToken::new(), CancellationToken::new());
    let mut entrance = None;
    let machines = if args.dev {
        let session = server
            .login(DEV_EMAIL, DEV_ORG, Some(Utc::now() + DEV_TOKEN))
            .await?;
        hand_over(context, args, &url, &session)?;
        entrance = Some(HarmontClient::with_base_url(session.reveal(), &here));
        let machines = Machines::new(context, config)?;
        machines.say_why(context);
        Some(machines)
    } else {
        open_files::raise(printer);
        if is_new {
            say_how_to_begin(context, &data);
        }
        None
    };
    let agent = match &machines {
        Some(machines) => {
            let token = server.agent_token(DEV_ORG, "hm server --dev").await?;
            let agent_config = AgentConfig {
                name: "dev".into(),
                labels: std::collections::BTreeSet::new(),
                concurrency: DEV_BUILDS,
                data_dir: data.join("agent"),
            };
            let secrets = agents_secrets(context, &args.secrets)?;
            let agent = Agent::new(
                HarmontClient::with_base_url(token.reveal(), &here),
                agent_config,
                agents_backend(context, config, machines, DEV_BUILDS),
            );
            let defaults = agents_defaults(context, config);
            Some(agent.with_secrets(secrets).with_defaults(defaults))
        }
        None => None,
    };
    printer.data(&format!("{url}\n")).map_err(Failure::Output)?;

    let serving = {
        let (server, stop) = (Arc::clone(&server), stop_serving.clone());
        tokio::spawn(async move { server.serve(listener, stop).await })
    };
    let building = tokio::spawn({
        let stop = stop_building.clone();
        async move {
            match agent {
                Some(agent) => agent.run(CancellationToken::new(), stop).await,
                None => Ok(()),
            }
        }
    });
    if let Some(client) = entrance {
        match link(&client, &url, args.token_file.is_some()).await {
            Ok(link) => printer.note(&format!("look:    {link}")),
            Err(error) => printer.warning(&format!("no link for a browser: {error}")),
        }
    }
    let serving = async { serving.await.map_err(|error| Failure::Server(error.into())) };
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = signals.next() => {
            printer.note("stopping; once more to kill");
            let ending = async {
                // The agent gives its build back while somebody is there to take it.
                stop_building.cancel();
                let built = building.await;
                stop_serving.cancel();
                let served = (&mut serving).await;
                if let Ok(Err(error)) = built {
                    printer.warning(&error.to_string());
                }
                served
            };
            tokio::select! {
                served = ending => served,
                () = signals.next() => return Err(Failure::Interrupted),
            }
        }
    };
    if let Some(machines) = &machines {
        machines.vm().shutdown().await;
    }
    Ok(served??)
}

/// The server's pages and its API lie at the root of a host.
fn refuse_a_path(url: &str) -> Result<()> {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let Some((host, path)) = host.split_once('/').filter(|(_, path)| !path.is_empty()) else {
        return Ok(());
    };
    Err(Failure::usage(
        format!("--public-url {url} has the path /{path}: the server can only be at the root of a host"),
        [format!(
            "give it a host name of its own, such as ci.{host}, and have the proxy pass on all of it"
        )],
    ))
}

/// Whether agents and browsers can reach the server by what they are told.
fn check_reach(context: &Context, args: &ServerArgs) -> Result<()> {
    let address = args.listen.ip();
    if args.public_url.is_some() || address.is_loopback() {
        return Ok(());
    }
    if address.is_unspecified() {
        return Err(Failure::usage(
            format!(
                "nobody can reach the server by the URL http://{}, which agents and watchers would be given",
                args.listen
            ),
            [
                "say by --public-url how it is reached, such as --public-url https://ci.example.org",
                "or listen at one address of this machine",
            ],
        ));
    }
    context.printer.warning(&format!(
        "tokens go to http://{} in the clear: put a proxy with TLS before the server, and name its URL by --public-url",
        args.listen
    ));
    Ok(())
}

/// The token of `--dev`, to the file or to whoever reads.
fn hand_over(context: &Context, args: &ServerArgs, url: &str, session: &Secret) -> Result<()> {
    let printer = context.printer;
    match &args.token_file {
        Some(file) => {
            let path = context.environment.cwd.join(file);
            write_private(&path, &format!("{}\n", session.reveal()))?;
            printer.note(&format!(
                "log in:  hm cloud login --url {url} --token-file {}",
                file.display()
            ));
        }
        None => printer.note(&format!(
            "log in:  hm cloud login --url {url} --token {}",
            session.reveal()
        )),
    }
    printer.note("build:   hm run --backend cloud");
    Ok(())
}

/// How a browser comes in. Who keeps the token from those that read along keeps the link from them, too.
async fn link(client: &HarmontClient, url: &str, is_private: bool) -> Result<String, HarmontError> {
    if is_private {
        return Ok("hm cloud open --login".into());
    }
    let code = client.login_code().await?;
    let link = login_link(url, &code, "/");
    Ok(format!(
        "{link} (good once, for five minutes; then `hm cloud open --login`)"
    ))
}

/// What a server without anybody needs.
fn say_how_to_begin(context: &Context, data: &Path) {
    let printer = context.printer;
    let data = data.display();
    printer.note("nobody can log in yet. Stop this server, and make the first login and an agent's token:");
    printer.note(&format!(
        "  hm server --data {data} token --email YOU@EXAMPLE.ORG --org TEAM"
    ));
    printer.note(&format!("  hm server --data {data} token --agent --org TEAM"));
    printer.note("Later `hm cloud agent-token` makes agents' tokens, while the server runs.");
}
