//! Build events: the one thing that backends emit and renderers read.
//!
//! There are nine kinds and no more: readers of the published version 0.0.9 stop at a kind that they do not know. What is
//! added stands in optional fields, which they pass over. A reader of this version passes over a kind of a newer one
//! ([`BuildEvent::Unknown`]).
//!
//! Per step the order is `step_queued`, then one of
//! - `step_cache_hit`;
//! - `step_end` with the status `skipped`, for a step that never starts;
//! - `step_start`, any number of `step_log`, and exactly one `step_end`.
//!
//! A step that is tried again has one `step_start` for each attempt and still one `step_end`: its last attempt's. The
//! second `step_start` carries `attempt` 2 and how the first one ended, and the lines after it carry the attempt too. A
//! reader that knows no attempts sees a running step start again, and never an end that was not the end.
//!
//! `build_start` is first, `build_end` is last and comes once, on every path.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::end::known_status;
pub use crate::end::{BuildEndStatus, CANCELED, SKIPPED, StepEndStatus, TIMED_OUT};
use crate::executor::SnapshotRef;

/// The version of this wire form, sent in `build_start`. Version 1 had four more kinds: [`Upgrade`](crate::old::Upgrade) reads it.
pub const SCHEMA_VERSION: u32 = 2;

/// Which of a step's two output streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StdStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The stable identity of a build, shared by `build_accepted` and the build's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildRef {
    /// Identifies the run. A local build has this and nothing else.
    pub run_id: Uuid,
    /// The build's number on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    /// The organization's slug on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The pipeline's slug.
    pub pipeline: String,
}

/// What a plan amounts to, for a run's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanSummary {
    /// How many steps the plan has.
    pub step_count: usize,
    /// How many chains (maximal lines of `builds_in` edges) the plan has.
    pub chain_count: usize,
    /// The runner of a step that names none.
    pub default_runner: String,
}

/// An image that a run uses, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinnedImage {
    /// As the plan, or the backend's default, names it.
    pub name: String,
    /// What the name stood for when the run began.
    pub digest: String,
}

/// What a JUnit report says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestSummary {
    /// How many test cases there are.
    pub total: u64,
    /// How many failed, errors included.
    pub failed: u64,
    /// How many were skipped.
    pub skipped: u64,
    /// The names of the failed ones, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// What a run's header tells beside the plan's summary. Every field is optional on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunHeader {
    /// The pipeline's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The backend's name, such as `local-sandbox`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// What a root step without an image starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_image: Option<String>,
    /// The images that its steps and services start from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PinnedImage>,
    /// How many steps may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<usize>,
    /// How many files the source has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_files: Option<u64>,
    /// How many of them were brought in for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_changed: Option<u64>,
    /// How long it took to get here from when the run was asked for, in milliseconds: the pipeline's rendering, images, the
    /// source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare_ms: Option<u64>,
    /// Identifies the frozen source, so that a shell can be opened over it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Plain words about what this machine could not provide, such as a memory limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// A file that a step made and that is kept for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Where it was, relative to the workspace.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 digest of its content, in hexadecimal.
    pub digest: String,
    /// What it says, where it is a JUnit report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestSummary>,
}

/// The artifacts of a step that one event has no space to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoreArtifacts {
    /// How many files.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the JUnit reports among them say together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestSummary>,
}

/// What one pattern of a step's artifacts has named; what several name counts for the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactPattern {
    /// As the plan has it; the file's own path where it names one alone.
    pub pattern: String,
    /// How many files.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One event of a build. On the wire an object tagged by `kind`, in snake_case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum BuildEvent {
    /// The first event of every build.
    BuildStart {
        /// Identifies the run.
        run_id: Uuid,
        /// What is about to run.
        plan: PlanSummary,
        /// When the run started.
        started_at: DateTime<Utc>,
        /// The version of this wire form ([`SCHEMA_VERSION`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema_version: Option<u32>,
        /// What a renderer's header shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<RunHeader>,
    },
    /// The build has an identity.
    BuildAccepted {
        /// The build's identity.
        build: BuildRef,
        /// Where the build can be watched in a browser.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch_url: Option<String>,
    },
    /// A step is known and waits for its turn.
    StepQueued {
        /// Identifies the step within the run.
        step_id: Uuid,
        /// The step's key in the plan.
        key: String,
        /// Which chain the step belongs to, counted from 0.
        chain_idx: usize,
        /// The key of the step whose snapshot this one starts from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_key: Option<String>,
        /// What to call the step before a person.
        display_name: String,
        /// The command that the step runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    /// A step's command is about to run.
    StepStart {
        /// The step.
        step_id: Uuid,
        /// Which runner runs it.
        runner: String,
        /// The image it starts from, when it starts from one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
        /// Why a step with a cache policy has to run, in plain words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache_miss: Option<String>,
        /// Which attempt at the step begins, from the second one on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        /// The exit code of the attempt before, from the second one on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_exit_code: Option<i32>,
    },
    /// A line of output, without its line terminator.
    StepLog {
        /// The step.
        step_id: Uuid,
        /// Which stream it was written to.
        stream: StdStream,
        /// The text; bytes that are not UTF-8 are replaced by U+FFFD.
        line: String,
        /// When it was read.
        ts: DateTime<Utc>,
        /// This is a piece of a line, and the line goes on in the next event of this step, service and stream.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        /// The service that wrote it, where the step itself did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// Which attempt at the step wrote it, from the second one on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// A step need not run: its snapshot is there.
    StepCacheHit {
        /// The step.
        step_id: Uuid,
        /// The step's cache key.
        key: String,
        /// The snapshot's reference.
        tag: String,
        /// The artifacts of the step that made the snapshot.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifacts: Vec<Artifact>,
        /// Those of them that are not listed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more_artifacts: Option<MoreArtifacts>,
        /// How many of all of them each pattern has named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifact_patterns: Vec<ArtifactPattern>,
    },
    /// A step has ended, or never starts.
    StepEnd {
        /// The step.
        step_id: Uuid,
        /// The command's exit code; 128 + n when signal n killed it, 124 on a timeout, 130 when canceled, and -1, which no
        /// command can end with, when it was skipped.
        exit_code: i32,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// What the step left, whether it passed or failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<SnapshotRef>,
        /// How it ended. Where it is absent, the exit code says it: [`StepEndStatus::of`].
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "known_status"
        )]
        status: Option<StepEndStatus>,
        /// What a person should know about the end: a limit that was hit, a hint, why it was skipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// The files that are kept of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifacts: Vec<Artifact>,
        /// Those of them that are not listed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more_artifacts: Option<MoreArtifacts>,
        /// How many of all of them each pattern has named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifact_patterns: Vec<ArtifactPattern>,
    },
    /// A chain cannot go on because one of its steps failed.
    ChainFailed {
        /// The chain.
        chain_idx: usize,
        /// The step that failed.
        failed_step_id: Uuid,
        /// Its key in the plan.
        failed_step_key: String,
        /// Its exit code.
        exit_code: i32,
        /// What happened, in plain words.
        message: String,
        /// When.
        ts: DateTime<Utc>,
    },
    /// The last event of every build.
    BuildEnd {
        /// 0 passed, 1 failed, 130 canceled, 124 timed out.
        exit_code: i32,
        /// How long the build took, in milliseconds.
        duration_ms: u64,
    },
    /// An event of a kind that this version does not know. It is read and passed over; nobody sends it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl BuildEvent {
    /// The end of a step that never starts.
    #[must_use]
    pub const fn skipped(step_id: Uuid, reason: String) -> Self {
        Self::StepEnd {
            step_id,
            exit_code: SKIPPED,
            duration_ms: 0,
            snapshot: None,
            status: Some(StepEndStatus::Skipped),
            message: Some(reason),
            artifacts: Vec::new(),
            more_artifacts: None,
            artifact_patterns: Vec::new(),
        }
    }

    /// The step that the event is about; a failed chain's is the step that failed.
    #[must_use]
    pub const fn step_id(&self) -> Option<Uuid> {
        match self {
            Self::BuildStart { .. } | Self::BuildAccepted { .. } | Self::BuildEnd { .. } | Self::Unknown => {
                None
            }
            Self::StepQueued { step_id, .. }
            | Self::StepStart { step_id, .. }
            | Self::StepLog { step_id, .. }
            | Self::StepCacheHit { step_id, .. }
            | Self::StepEnd { step_id, .. }
            | Self::ChainFailed {
                failed_step_id: step_id,
                ..
            } => Some(*step_id),
        }
    }

    /// The same, to be replaced by whoever knows the step by another name.
    pub const fn step_id_mut(&mut self) -> Option<&mut Uuid> {
        match self {
            Self::BuildStart { .. } | Self::BuildAccepted { .. } | Self::BuildEnd { .. } | Self::Unknown => {
                None
            }
            Self::StepQueued { step_id, .. }
            | Self::StepStart { step_id, .. }
            | Self::StepLog { step_id, .. }
            | Self::StepCacheHit { step_id, .. }
            | Self::StepEnd { step_id, .. }
            | Self::ChainFailed {
                failed_step_id: step_id,
                ..
            } => Some(step_id),
        }
    }
}

/// The JSON Schema of [`BuildEvent`], one line of `--format json`.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(BuildEvent)
}
