//! The flags of `hm run`, `hm render` and `hm graph`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hm_oci::Platform;

use super::SecretArgs;
use crate::choices::{BackendChoice, parse_duration, parse_image_pair};
use crate::choices::{Format, Logs};

/// Which plan.
#[derive(Debug, Clone, Default, Args)]
pub struct PipelineArgs {
    /// The pipeline; may be left out where there is only one
    pub pipeline: Option<String>,
    /// Take a plan of v0 IR JSON from FILE, or from standard input for `-`
    #[arg(long, value_name = "FILE", conflicts_with = "pipeline")]
    pub plan: Option<PathBuf>,
    /// Set a variable for the pipeline and every step; KEY alone takes it from the environment
    #[arg(short, long = "env", value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// The branch that the pipeline sees, instead of the checked out one
    #[arg(short, long)]
    pub branch: Option<String>,
}

/// How to show it.
#[derive(Debug, Clone, Default, Args)]
pub struct ShowArgs {
    /// How to show it: human on a terminal, plain otherwise
    #[arg(long)]
    pub format: Option<Format>,
    /// Which steps' output to show
    #[arg(long)]
    pub logs: Option<Logs>,
}

/// `hm run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Which plan.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// How to show it.
    #[command(flatten)]
    pub show: ShowArgs,
    /// What the run is about, instead of the commit's message
    #[arg(short, long)]
    pub message: Option<String>,
    /// How many steps may run at once
    #[arg(short = 'j', long, value_name = "N")]
    pub parallelism: Option<NonZeroUsize>,
    /// Run what does not depend on a failed step to its end
    #[arg(short, long)]
    pub keep_going: bool,
    /// Run every step, whatever is cached
    #[arg(long)]
    pub no_cache: bool,
    /// The most that the whole build may take, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub timeout: Option<Duration>,
    /// How long a step that is canceled or timed out may take to end after SIGTERM; 0 kills it at once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub grace: Option<Duration>,
    /// What runs the build
    #[arg(long)]
    pub backend: Option<BackendChoice>,
    /// Let WHAT (`host`, another image, a directory, an archive: `./image.tar`) stand in for the image NAME
    #[arg(long, value_name = "NAME=WHAT", value_parser = parse_image_pair)]
    pub image: Vec<(String, String)>,
    /// When to ask registries for images
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing", "never"])]
    pub pull: Option<String>,
    /// The platform of images, such as linux/arm64, instead of this machine's
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Run this step alone, and what it builds in where that has no snapshot
    #[arg(long, value_name = "STEP", conflicts_with = "from")]
    pub only: Option<String>,
    /// Run this step, cached or not, and what descends from it
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
    /// Bring `.git` into the source
    #[arg(long)]
    pub git: bool,
    /// Let steps make user namespaces (the sandbox)
    #[arg(long)]
    pub nested: bool,
    /// What steps may reach: `outbound` or `none`
    #[arg(long, value_name = "WHAT", value_parser = ["outbound", "none"])]
    pub network: Option<String>,
    /// Secrets.
    #[command(flatten)]
    pub secrets: SecretArgs,
    /// Copy what the steps have made to DIR/STEP/PATH at the end, also of a build that failed
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// The organization that builds, with `--backend cloud`
    #[arg(long, value_name = "ORG")]
    pub org: Option<String>,
    /// The pipeline on the server, with `--backend cloud`
    #[arg(long, value_name = "PIPELINE")]
    pub cloud_pipeline: Option<String>,
    /// Submit the build and return, with `--backend cloud`
    #[arg(long)]
    pub no_watch: bool,
    /// Write what the run cost (machines, cache hits, Pythons) to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text)?;
    if parsed.is_zero() {
        return Err("a timeout of nothing ends every build; try `10m`".into());
    }
    Ok(parsed)
}
