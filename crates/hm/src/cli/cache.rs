//! The flags of `hm cache`.

use clap::{Args, Subcommand};

use super::BackendArgs;
use crate::choices::parse_size;

/// `hm cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// Whose snapshots.
    #[command(flatten)]
    pub backend: BackendArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with the snapshots.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List the snapshots, the newest first
    Ls {
        /// Print them as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Tell how much disk they take up
    Du {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove those used longest ago until the rest fits the budget; images too
    Prune {
        /// What the snapshots may take up, such as 10GiB
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        budget: Option<u64>,
        /// What the images may take up, such as 10GiB
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        images: Option<u64>,
    },
    /// Remove all of them, and the frozen sources
    Clean {
        /// The images, too
        #[arg(long)]
        images: bool,
    },
}
