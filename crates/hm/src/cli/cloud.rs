//! The flags of `hm cloud`, and of a build on a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::ShowArgs;
use crate::choices::parse_duration;

/// Which organization.
#[derive(Debug, Clone, Default, Args)]
pub struct OrgArgs {
    /// The organization on the server
    #[arg(long, value_name = "ORG")]
    pub org: Option<String>,
}

/// `hm cloud`.
#[derive(Debug, Subcommand)]
pub enum CloudCommand {
    /// Log in to a server, in a browser or with a token
    Login(LoginArgs),
    /// Open a pipeline or a build in a browser
    Open(OpenArgs),
    /// End the login
    Logout,
    /// Tell who is logged in where
    Whoami {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at your organizations, or choose one
    #[command(subcommand)]
    Org(OrgCommand),
    /// Look at an organization's pipelines, or make one
    #[command(subcommand)]
    Pipeline(PipelineCommand),
    /// Look at builds, watch one, or cancel one
    #[command(subcommand)]
    Build(BuildCommand),
    /// Look at a build's jobs, or at what one said
    #[command(subcommand)]
    Job(JobCommand),
    /// Make a token for `hm agent`, and print it
    AgentToken {
        /// What it is for
        #[arg(default_value = "hm agent")]
        description: String,
        /// Which organization.
        #[command(flatten)]
        org: OrgArgs,
    },
}

/// `hm cloud login`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("secret"))]
pub struct LoginArgs {
    /// The server, such as https://ci.example.org
    #[arg(long)]
    pub url: Option<String>,
    /// A token; others on this machine may see it while the command runs
    #[arg(long, group = "secret")]
    pub token: Option<String>,
    /// Take the token from standard input
    #[arg(long, group = "secret", hide = true)]
    pub paste: bool,
    /// A file with a token, or `-` for standard input
    #[arg(long, value_name = "FILE", group = "secret")]
    pub token_file: Option<PathBuf>,
    /// The code that a browser, or `hm cloud` elsewhere, shows
    #[arg(long, group = "secret")]
    pub code: Option<String>,
    /// Open no browser: the page to log in at may be opened anywhere
    #[arg(long, conflicts_with = "secret")]
    pub no_browser: bool,
    /// How long to wait for the browser
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration, conflicts_with = "secret")]
    pub wait: Duration,
}

/// `hm cloud open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The pipeline on the server; everything of yours when left out
    pub pipeline: Option<String>,
    /// The build's number; all of the pipeline's builds when left out
    #[arg(requires = "pipeline")]
    pub number: Option<i64>,
    /// Log the browser in, too: the link is good once, for five minutes, for whoever comes first
    #[arg(long)]
    pub login: bool,
    /// Print the link alone
    #[arg(long)]
    pub no_browser: bool,
    /// Which organization.
    #[command(flatten)]
    pub org: OrgArgs,
}

/// What to do with organizations.
#[derive(Debug, Subcommand)]
pub enum OrgCommand {
    /// List those that you are in
    List {
        /// Print them as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Choose the one that builds are for from now on
    #[command(alias = "switch")]
    Use {
        /// Its name in URLs
        org: String,
    },
}

/// What to do with pipelines.
#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// List them
    List {
        /// Which organization.
        #[command(flatten)]
        org: OrgArgs,
        /// Print them as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Make one; `hm run --backend cloud` makes those that it needs itself
    Create {
        /// What to call it
        name: String,
        /// The repository that it builds, as owner/repo or a URL; the one here when left out
        #[arg(long, value_name = "REPO")]
        repo: Option<String>,
        /// The branch that is built unless one is named
        #[arg(long, default_value = "main")]
        branch: String,
        /// Which organization.
        #[command(flatten)]
        org: OrgArgs,
    },
}

/// Which build.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The pipeline on the server
    pub pipeline: String,
    /// The build's number; the newest when left out
    pub number: Option<i64>,
    /// Which organization.
    #[command(flatten)]
    pub org: OrgArgs,
}

/// What to do with builds.
#[derive(Debug, Subcommand)]
pub enum BuildCommand {
    /// List builds, the newest first
    List {
        /// Of this pipeline alone
        pipeline: Option<String>,
        /// How many to list
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Which organization.
        #[command(flatten)]
        org: OrgArgs,
        /// Print them as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Show a build and its jobs
    Show {
        /// Which build.
        #[command(flatten)]
        build: BuildArgs,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Watch a build from its beginning to its end
    Watch {
        /// Which build.
        #[command(flatten)]
        build: BuildArgs,
        /// How to show it.
        #[command(flatten)]
        show: ShowArgs,
    },
    /// Cancel a build
    Cancel {
        /// Which build.
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Run a build again: a new build of the same plan, source, variables and options
    Retry {
        /// Which build.
        #[command(flatten)]
        build: BuildArgs,
        /// Return at once, without watching the new build
        #[arg(long)]
        no_watch: bool,
        /// How to show it.
        #[command(flatten)]
        show: ShowArgs,
    },
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List a build's jobs
    List {
        /// Which build.
        #[command(flatten)]
        build: BuildArgs,
        /// Print them as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Print what a job says, to its end: what it writes to standard error goes there
    Log {
        /// The step's key
        step: String,
        /// Go on until the job ends, as it does without this: `hm logs` needs it
        #[arg(short, long, hide = true)]
        follow: bool,
        /// Which build.
        #[command(flatten)]
        build: BuildArgs,
    },
}
