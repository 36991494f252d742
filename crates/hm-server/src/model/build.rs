//! Builds.
//!
//! ```text
//!                 lease              a job fails
//!   scheduled ------------> running ------------> failing
//!    |  ^  \                 |   |                 |   |
//!    |  |   \--- agent lost -/   |   cancel        |   |
//!    |  +------------------------|-----------------/   |
//!    |                           +----> canceling <----+
//!    | cancel                    |          |          |
//!    v                           v          v          v
//!  canceled                  passed | failed | canceled
//! ```

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use harmont_client::models::BuildOptions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::NewJob;
use crate::secret::SecretHash;
use crate::{BuildId, OrgId, PipelineId};

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// It waits for an agent.
    Scheduled,
    /// An agent runs it.
    Running,
    /// An agent runs it, and it can no longer pass.
    Failing,
    /// It ended well.
    Passed,
    /// It ended badly.
    Failed,
    /// An agent runs it and has been told to stop.
    Canceling,
    /// It was stopped.
    Canceled,
}

impl BuildState {
    const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Running,
        Self::Failing,
        Self::Passed,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
        }
    }

    /// The inverse of [`BuildState::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it stays so.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::Canceled)
    }
}

/// The source archive of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceArchive {
    /// There is none.
    None,
    /// It was uploaded and lies among the blobs.
    Uploaded {
        /// Its length in bytes.
        bytes: u64,
        /// Its SHA-256 digest, in hexadecimal.
        sha256: String,
    },
    /// The agent fetches it.
    Url {
        /// From where.
        url: String,
        /// Its SHA-256 digest, where the submitter gave it.
        sha256: Option<String>,
    },
}

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Identifies the build.
    pub id: BuildId,
    /// Whose it is.
    pub org: OrgId,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Counted from 1 within the pipeline.
    pub number: i64,
    /// Where it stands.
    pub state: BuildState,
    /// The source's branch.
    pub branch: String,
    /// The source's commit.
    pub commit: String,
    /// The commit's message.
    pub message: Option<String>,
    /// How it was triggered.
    pub trigger: String,
    /// The submitter's variables.
    pub env: BTreeMap<String, String>,
    /// How it runs.
    pub options: BuildOptions,
    /// The source archive.
    pub archive: SourceArchive,
    /// Why it failed without a step's fault.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_message: Option<String>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was queued.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// When its first agent began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The attempt that may write to it; 0 before the first.
    pub attempt: i64,
    /// The log's sequence number before that attempt's first event.
    pub base_seq: u64,
    /// From when on its log is not kept any more.
    pub log_removed_at: Option<DateTime<Utc>>,
    /// From when on its source archive is not kept any more.
    pub source_removed_at: Option<DateTime<Utc>>,
}

/// A build to be.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// Identifies the build; its source archive is stored before it.
    pub id: BuildId,
    /// Whose it is.
    pub org: OrgId,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The source's branch.
    pub branch: String,
    /// The source's commit.
    pub commit: String,
    /// The commit's message.
    pub message: Option<String>,
    /// How it was triggered.
    pub trigger: String,
    /// The submitter's variables.
    pub env: BTreeMap<String, String>,
    /// How it runs.
    pub options: BuildOptions,
    /// The source archive.
    pub archive: SourceArchive,
    /// The plan, byte for byte.
    pub plan: String,
    /// Its steps, in the plan's order. None where the plan was refused.
    pub jobs: Vec<NewJob>,
    /// Why the plan was refused: code and message. Such a build has failed from the start.
    pub rejected: Option<(String, String)>,
}

/// An agent's try at a build.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Counted from 1, larger than every one before it.
    pub number: i64,
    /// The log's sequence number before its first event.
    pub base_seq: u64,
    /// What the token that fetches the source archive hashes to.
    pub runner: SecretHash,
}

/// How a build ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// A terminal state.
    pub state: BuildState,
    /// Why it failed without a step's fault.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_message: Option<String>,
}
