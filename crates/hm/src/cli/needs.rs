//! The flags about what steps need and what they make.

use std::path::PathBuf;

use clap::Args;

/// Secrets.
#[derive(Debug, Clone, Default, Args)]
pub struct SecretArgs {
    /// Give steps the secret NAME: the variable NAME, another one with `env:VARIABLE`, a file's content with `file:PATH`
    #[arg(long, value_name = "NAME[=SOURCE]")]
    pub secret: Vec<String>,
}

/// `hm artifacts`.
#[derive(Debug, Args)]
pub struct ArtifactsArgs {
    /// The run, by the beginning of its id, or one step of it; the newest of this repository when left out
    #[arg(value_name = "RUN[/STEP]")]
    pub run: Option<String>,
    /// Copy them to DIR/STEP/PATH
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Those of this step alone
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// Print them as JSON, one a line
    #[arg(long, conflicts_with = "to")]
    pub json: bool,
}
