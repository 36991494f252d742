//! The flags of `hm server` and `hm agent`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hm_server::Keep;
use ipnet::IpNet;

use super::SecretArgs;
use crate::choices::parse_duration;
use crate::choices::parse_size;

/// `hm server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the server keeps its data; `server` in hm's own data directory when left out, a temporary one with `--dev`
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Run an agent in the same process, and log in whoever reads the output: to try things out
    #[arg(long)]
    pub dev: bool,
    /// Write the token of `--dev` to FILE instead of printing it
    #[arg(long, value_name = "FILE", requires = "dev")]
    pub token_file: Option<PathBuf>,
    /// How clients, agents and browsers reach this server, when not by the address that it listens at
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// How long a build stays with an agent that says nothing: 30s when left out, 3s with `--dev`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lease: Option<Duration>,
    /// For how many days an ended build's log is kept; 0 is for ever
    #[arg(long, value_name = "DAYS", default_value = "90")]
    pub keep_logs: u32,
    /// For how many days an ended build's source is kept, without which it cannot be retried; 0 is for ever
    #[arg(long, value_name = "DAYS", default_value = "14")]
    pub keep_sources: u32,
    /// How much all sources may take together before those of the oldest ended builds go; 0 is without a limit
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = parse_size)]
    pub source_budget: u64,
    /// Addresses of proxies that are believed whose request they pass on, such as 10.0.0.0/8; can be given more than once
    #[arg(long = "trust-proxy", value_name = "CIDR", value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
    /// What builds that run with `--dev` are given.
    #[command(flatten)]
    pub secrets: AgentSecretArgs,
    /// What else.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
}

/// Where the secrets are that an agent gives builds.
#[derive(Debug, Clone, Default, Args)]
pub struct AgentSecretArgs {
    /// A file with secrets for builds, `NAME = "value"` in each line; they never leave this machine
    #[arg(long, value_name = "FILE")]
    pub secrets_file: Option<PathBuf>,
    /// Others.
    #[command(flatten)]
    pub secrets: SecretArgs,
}

impl AgentSecretArgs {
    /// Whether nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.secrets_file.is_none() && self.secrets.secret.is_empty()
    }
}

impl ServerArgs {
    /// How long things are kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        let days = |days: u32| (days > 0).then(|| Duration::from_secs(u64::from(days) * SECONDS_OF_A_DAY));
        Keep {
            logs: days(self.keep_logs),
            sources: days(self.keep_sources),
            source_bytes: (self.source_budget > 0).then_some(self.source_budget),
            ..Keep::default()
        }
    }
}

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// A network, or one address.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| one())
        .map_err(|_| format!("`{text}` is no network; try `10.0.0.0/8` or `127.0.0.1`"))
}

/// What to do with a server that does not run.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Print a token: how the first person comes in, and the last who has lost all others
    Token {
        /// Whose; the person is made where there is none of this address
        #[arg(long, required_unless_present = "agent", conflicts_with = "agent")]
        email: Option<String>,
        /// The organization, which is made where there is none of this name
        #[arg(long)]
        org: String,
        /// A token for `hm agent` instead
        #[arg(long)]
        agent: bool,
    },
}

/// `hm agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The server, such as https://ci.example.org
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// A file with the agent's token, instead of the variable HM_AGENT_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What builds' logs call it
    #[arg(long, default_value = "agent")]
    pub name: String,
    /// What it has, separated by commas: a build whose plan has labels goes to an agent that has them all
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// How many builds it runs at once
    #[arg(long, value_name = "N", default_value = "1")]
    pub concurrency: NonZeroUsize,
    /// A host, an address or a network that sources may be fetched from which are not on the server; can be given more than once
    #[arg(long = "source-host", value_name = "HOST")]
    pub source_hosts: Vec<String>,
    /// What builds are given.
    #[command(flatten)]
    pub secrets: AgentSecretArgs,
}

impl AgentArgs {
    /// What it has.
    #[must_use]
    pub fn labels(&self) -> BTreeSet<String> {
        let labels = self.labels.iter().map(|label| label.trim());
        labels
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect()
    }
}
