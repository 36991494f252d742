//! The command line, declared once: it drives the parser, the help, the man page and the completions.

mod cache;
mod cloud;
mod image;
mod needs;
mod past;
mod published;
mod run;
mod server;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

pub use cache::{CacheArgs, CacheCommand};
pub use cloud::{
    BuildArgs, BuildCommand, CloudCommand, JobCommand, LoginArgs, OpenArgs, OrgArgs, OrgCommand,
    PipelineCommand,
};
pub use image::{ImageArgs, ImageCommand};
pub use needs::{ArtifactsArgs, SecretArgs};
pub use past::{BuildsArgs, LogsArgs, RerunArgs, ShellArgs};
pub use published::translate;
pub use run::{PipelineArgs, RunArgs, ShowArgs};
pub use server::{AgentArgs, AgentSecretArgs, ServerArgs, ServerCommand};

use crate::choices::BackendChoice;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const CLOUD_EXAMPLES: &str = "\
Examples:
  hm cloud login --url https://ci.example.org
  hm run --backend cloud --no-watch
  hm cloud build list ci
  hm cloud build watch ci 12
  hm cloud job log test ci 12 > test.log

HM_API_URL, HM_API_TOKEN, HM_ORG and HM_APP_URL go over the login and the configuration.";

const SERVER_EXAMPLES: &str = "\
Examples:
  hm server --dev
  hm server --data /srv/hm token --email you@example.org --org team > token
  hm server --data /srv/hm --listen 127.0.0.1:8080 --public-url https://ci.example.org";

const AGENT_EXAMPLES: &str = "\
Examples:
  hm agent --server https://ci.example.org --token-file agent-token --concurrency 2
  hm agent --server https://ci.example.org --token-file agent-token --labels deploy --secrets-file secrets.toml";

/// The whole pipeline of a repository on your own machine: every step forks from its parent's snapshot.
#[derive(Debug, Parser)]
#[command(name = "hm", version, styles = STYLES, max_term_width = 100, propagate_version = false)]
#[command(
    after_help = "Exit codes: 0 passed, 1 failed, 124 timed out, 130 canceled, 2 wrong usage or set-up."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// The repository, instead of the nearest directory above with `.hm` or `.git`
    #[arg(long, short_alias = 'd', global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where hm keeps sources, snapshots and recorded runs
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say what hm is doing
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// Whose images, or whose snapshots.
#[derive(Debug, Clone, Default, Args)]
pub struct BackendArgs {
    /// Of which backend, instead of the one that runs builds
    #[arg(long, global = true)]
    pub backend: Option<BackendChoice>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first pipeline that fits the repository
    Init,
    /// Run a pipeline
    Run(Box<RunArgs>),
    /// Run again what was run before, over today's source
    Rerun(RerunArgs),
    /// Open a shell where a step ended, or where it began
    Shell(ShellArgs),
    /// Play a past run through any renderer
    Logs(LogsArgs),
    /// List what a past run's steps have made, or copy it out
    Artifacts(ArtifactsArgs),
    /// List past runs
    Builds(BuildsArgs),
    /// List the repository's pipelines
    Pipelines {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a pipeline's plan, byte for byte as it would run
    Render(PipelineArgs),
    /// Draw a pipeline's steps
    Graph(PipelineArgs),
    /// Tell what this machine can run, and the command that mends what it cannot
    Doctor {
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the snapshots, or remove some
    Cache(CacheArgs),
    /// Look at the images, fetch some, or remove some
    Image(ImageArgs),
    /// Show the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Ask a server: log in, look at builds
    #[command(subcommand, after_help = CLOUD_EXAMPLES)]
    Cloud(CloudCommand),
    /// Run a server that takes builds and gives them to agents
    #[command(after_help = SERVER_EXAMPLES)]
    Server(ServerArgs),
    /// Run the builds of a server on this machine
    #[command(after_help = AGENT_EXAMPLES)]
    Agent(AgentArgs),
    /// Tell about the events that `--format json` prints
    Events {
        /// Print their JSON Schema
        #[arg(long, required = true)]
        schema: bool,
    },
    /// Print a shell's completion script
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting
    Show {
        /// Print where each value came from
        #[arg(long)]
        origin: bool,
    },
    /// Explain every setting: its key, its variable, its default
    Reference,
}
