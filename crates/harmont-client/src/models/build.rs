//! Builds and their jobs.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::BuildOptions;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),* })
            }
        }
    };
}

states! {
    /// How far a build is.
    BuildState {
        /// It waits.
        Scheduled = "scheduled",
        /// It runs.
        Running = "running",
        /// It runs, and a job has failed.
        Failing = "failing",
        /// It passed.
        Passed = "passed",
        /// It failed.
        Failed = "failed",
        /// It was asked to stop.
        Canceling = "canceling",
        /// It was stopped.
        Canceled = "canceled",
    }
}

states! {
    /// How far a job is.
    JobState {
        /// It waits for other jobs.
        Pending = "pending",
        /// It waits for its turn.
        Scheduled = "scheduled",
        /// An agent has it.
        Assigned = "assigned",
        /// It runs.
        Running = "running",
        /// It passed.
        Passed = "passed",
        /// It failed.
        Failed = "failed",
        /// It did not have to run, or could not.
        Skipped = "skipped",
        /// It was asked to stop.
        Canceling = "canceling",
        /// It was stopped.
        Canceled = "canceled",
        /// It ran out of time and is being stopped.
        TimingOut = "timing_out",
        /// It ran out of time.
        TimedOut = "timed_out",
    }
}

impl BuildState {
    /// Whether it stays so.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::Canceled)
    }
}

/// A run of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Build {
    /// Identifies it on the server, where the server says so: beside the published API, in a header.
    #[serde(skip)]
    pub id: Option<Uuid>,
    /// Its number within the pipeline.
    pub number: i64,
    /// The pipeline.
    pub pipeline_slug: String,
    /// How far it is.
    pub state: BuildState,
    /// The source's branch.
    pub branch: Option<String>,
    /// The source's commit.
    pub commit: Option<String>,
    /// The commit's message, or the build's own.
    pub message: Option<String>,
    /// What started it, such as `api`.
    pub source: Option<String>,
    /// Why it failed as a whole: a stable code.
    pub error_code: Option<String>,
    /// Why it failed as a whole: words.
    pub error_message: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was queued.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When its log was removed, by a server of hm's that keeps none so old.
    #[serde(default)]
    pub log_removed_at: Option<DateTime<Utc>>,
    /// When its source was removed: it cannot be retried.
    #[serde(default)]
    pub source_removed_at: Option<DateTime<Utc>>,
    /// How it runs, as far as this client knows the words for it: beside the published API.
    #[serde(default, deserialize_with = "BuildOptions::told")]
    pub run_options: BuildOptions,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// Identifies it.
    pub id: Uuid,
    /// What to call it before a person.
    pub name: Option<String>,
    /// Its key in the plan.
    pub step_key: Option<String>,
    /// What it runs.
    pub command: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// Its exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// It failed, and the build went on.
    #[serde(default)]
    pub soft_failed: bool,
    /// The jobs that it waits for.
    #[serde(default)]
    pub depends_on: Vec<Uuid>,
    /// Why it failed: a stable code.
    pub error_code: Option<String>,
    /// Why it failed: words.
    pub error_message: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A build to be made of a pipeline that is known by its slug.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewBuild {
    /// The source's branch.
    pub branch: String,
    /// The source's commit.
    pub commit: String,
    /// The build's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Variables for every step.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The plan: v0 IR JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_ir: Option<String>,
    /// What starts it; the server's default is `api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How it runs: beside the published API.
    #[serde(skip_serializing_if = "BuildOptions::is_default")]
    pub run_options: BuildOptions,
}

/// A build to be made of a pipeline that is known by its repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewRepoBuild {
    /// The repository as `owner/repo`.
    pub repo_name: String,
    /// The pipeline's slug in the repository.
    pub source_slug: String,
    /// All else.
    #[serde(flatten)]
    pub build: NewBuild,
}

/// What a log stream is opened with.
#[derive(Debug, Clone, Deserialize)]
pub struct LogToken {
    /// The token; good for one build.
    pub token: secrecy::SecretString,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}
