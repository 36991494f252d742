//! The flags of the commands that look at past runs.

use std::path::PathBuf;

use clap::Args;

use super::{SecretArgs, ShowArgs};

/// `hm logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run, by the beginning of its id, or one step of it; the newest of this repository when left out
    #[arg(value_name = "RUN[/STEP]")]
    pub run: Option<String>,
    /// Show this step alone
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
    /// How to show it.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// `hm builds`.
#[derive(Debug, Args)]
pub struct BuildsArgs {
    /// The runs of all repositories
    #[arg(long)]
    pub all: bool,
    /// How many to list
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// Print them as JSON, one a line
    #[arg(long)]
    pub json: bool,
}

/// `hm rerun`.
#[derive(Debug, Args)]
pub struct RerunArgs {
    /// The run, by the beginning of its id, or one step of it to start from; the newest of this repository when left out
    #[arg(value_name = "RUN[/STEP]")]
    pub run: Option<String>,
    /// Start from the steps that failed
    #[arg(long, conflicts_with = "from")]
    pub failed: bool,
    /// Start from this step, over its clean parent
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
    /// Take the plan that the run had, instead of what the pipeline file says today
    #[arg(long)]
    pub as_recorded: bool,
    /// Run every step, whatever is cached
    #[arg(long, conflicts_with_all = ["failed", "from"])]
    pub no_cache: bool,
    /// Secrets.
    #[command(flatten)]
    pub secrets: SecretArgs,
    /// Copy what the steps have made to DIR/STEP/PATH at the end, also of a build that failed
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// How to show it.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// `hm shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// The step, in the newest run of this repository or in RUN; `@before` is what it started from, `@after`
    /// (the default) what it left
    #[arg(value_name = "[RUN/]STEP[@before|@after]")]
    pub target: String,
    /// Lay today's source instead of the one that the run saw
    #[arg(long)]
    pub today: bool,
    /// Secrets.
    #[command(flatten)]
    pub secrets: SecretArgs,
    /// A command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
