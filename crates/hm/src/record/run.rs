//! What `run.json` holds.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hm_exec::{BuildStatus, RunOptions};
use hm_oci::Platform;
use hm_vm::{DEFAULT_GRACE, ImageReference, Limits, Network};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fail::{Failure, Result};
use crate::secret_source::SecretSource;

/// A run: what was asked for, and how it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// Identifies the run.
    pub run_id: Uuid,
    /// The pipeline's name.
    pub pipeline: String,
    /// The repository.
    pub repo_root: PathBuf,
    /// The branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// The commit.
    #[serde(default)]
    pub commit: Option<String>,
    /// The commit's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The plan came from a file, and not from the repository's pipelines.
    #[serde(default)]
    pub plan_file: bool,
    /// What the run is about.
    #[serde(default)]
    pub message: Option<String>,
    /// The command line.
    #[serde(default)]
    pub command_line: Vec<String>,
    /// The variables that `-e` set.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where `--secret` said that values are to be had; never a value.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// The options that a rerun repeats.
    #[serde(default)]
    pub options: RecordedOptions,
    /// The backend's name.
    pub backend: String,
    /// The server that it was handed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it runs, and when it was killed.
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    #[serde(default)]
    pub status: Option<RecordedStatus>,
    /// The process.
    pub pid: u32,
    /// The digest of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<String>,
    /// The digest of the events, once all of them are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_digest: Option<String>,
}

/// How a recorded run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedStatus {
    /// Every step that had to pass has passed.
    Passed,
    /// A step failed.
    Failed,
    /// It was canceled.
    Canceled,
    /// It ran into its timeout.
    TimedOut,
    /// It was handed to a server, and nobody stayed to watch.
    Submitted,
    /// The backend could not go on.
    Broken,
}

impl From<BuildStatus> for RecordedStatus {
    fn from(status: BuildStatus) -> Self {
        match status {
            BuildStatus::Passed => Self::Passed,
            BuildStatus::Failed => Self::Failed,
            BuildStatus::Canceled => Self::Canceled,
            BuildStatus::TimedOut => Self::TimedOut,
            BuildStatus::Submitted => Self::Submitted,
        }
    }
}

impl RecordedStatus {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::TimedOut => "timed out",
            Self::Submitted => "submitted",
            Self::Broken => "broken",
        }
    }
}

/// The options that a rerun repeats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedOptions {
    /// Keep going after a failure.
    pub keep_going: bool,
    /// How many steps at once.
    pub parallelism: Option<NonZeroUsize>,
    /// The whole build's timeout in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long a step may take to end after SIGTERM, in milliseconds, where that was said.
    pub grace_ms: Option<u64>,
    /// What stands in for images.
    pub images: BTreeMap<String, String>,
    /// The platform of images that was asked for.
    pub platform: Option<String>,
    /// `.git` is in the source.
    pub git: bool,
    /// What steps may reach.
    pub network: Network,
    /// What a step may use up.
    pub limits: Limits,
}

impl RecordedOptions {
    /// What of `options` is worth repeating; `images` are the names that were mapped.
    #[must_use]
    pub fn of(options: &RunOptions, images: BTreeMap<String, String>, platform: Option<&Platform>) -> Self {
        Self {
            keep_going: options.keep_going,
            parallelism: options.parallelism,
            timeout_ms: options
                .timeout
                .and_then(|timeout| u64::try_from(timeout.as_millis()).ok()),
            grace_ms: (options.grace != DEFAULT_GRACE)
                .then(|| u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX)),
            images,
            platform: platform.map(ToString::to_string),
            git: options.include_git,
            network: options.network,
            limits: options.limits.clone(),
        }
    }

    /// The platform that was asked for.
    ///
    /// # Errors
    /// When what is recorded is none.
    pub fn platform(&self) -> Result<Option<Platform>> {
        let platform = self.platform.as_deref().map(str::parse).transpose();
        platform.map_err(|error: String| Failure::plain_usage(error))
    }

    /// The options again.
    #[must_use]
    pub fn repeat(&self) -> RunOptions {
        let mut options = RunOptions {
            keep_going: self.keep_going,
            parallelism: self.parallelism,
            timeout: self.timeout_ms.map(Duration::from_millis),
            grace: self.grace_ms.map_or(DEFAULT_GRACE, Duration::from_millis),
            include_git: self.git,
            network: self.network,
            limits: self.limits.clone(),
            ..RunOptions::default()
        };
        for (name, target) in &self.images {
            options
                .images
                .insert(ImageReference::new(name), ImageReference::new(target));
        }
        options
    }
}
