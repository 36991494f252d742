//! Values that the command line and the configuration both take.

use std::time::Duration;

use clap::ValueEnum;

/// What runs builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// Linux namespaces and overlayfs; nothing to install.
    #[value(alias = "local")]
    Sandbox,
    /// Containers of Docker, Podman or whatever speaks Docker's API
    Docker,
    /// A server and its agents: see `hm cloud login`
    Cloud,
}

impl BackendChoice {
    /// The one whose builds are recorded under this name; that is where their snapshots are.
    #[must_use]
    pub fn recorded_as(name: &str) -> Option<Self> {
        match name {
            "local-sandbox" => Some(Self::Sandbox),
            "local-docker" => Some(Self::Docker),
            "cloud" => Some(Self::Cloud),
            _ => None,
        }
    }
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Live, for a terminal
    Human,
    /// A prefix per step, for pipes and CI
    Plain,
    /// One event a line
    Json,
    /// A JUnit report at the end
    Junit,
}

/// Which steps' output is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Logs {
    /// Of failed steps
    Failed,
    /// Of all steps
    All,
    /// Of none
    None,
}

/// Reads a number of seconds, or `1h30m`.
///
/// # Errors
/// When it is neither.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => {
            humantime::parse_duration(text).map_err(|error| format!("{error}; try `90s`, `10m` or `1h30m`"))
        }
    }
}

/// Reads `20GiB`, `512M` or a bare number of bytes.
///
/// # Errors
/// When it is none of these.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.trim().parse().map_err(|_| not_a_size(text))?;
    Ok(size.as_u64())
}

fn not_a_size(text: &str) -> String {
    format!("`{text}` is not a size, such as `512MiB` or `20GiB`")
}

/// Reads `NAME=WHAT`.
///
/// # Errors
/// When there is no `=`, or nothing on one of its sides.
pub fn parse_image_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, target)) if !name.is_empty() && !target.is_empty() => Ok((name.into(), target.into())),
        _ => Err("not NAME=WHAT, such as `ubuntu:24.04=host`".into()),
    }
}
