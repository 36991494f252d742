//! Everything needed to start a build on any backend.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use hm_pipeline_ir::{PipelineGraph, PlanError};
use hm_plugin_protocol::events::PlanSummary;
use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::{DEFAULT_GRACE, ImageMap, Limits, Network, PlanPaths, SecretValue};

/// A rendered, ready-to-run pipeline.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The typed graph.
    pub graph: PipelineGraph,
    /// The text it was parsed from, byte for byte: the cloud gets what the author emitted.
    pub ir_json: String,
    /// What it amounts to.
    pub summary: PlanSummary,
}

impl Plan {
    /// Parses and validates v0 IR JSON.
    ///
    /// # Errors
    /// What is wrong with the plan, naming the steps.
    pub fn parse(ir_json: String) -> Result<Self, PlanError> {
        let graph = PipelineGraph::parse(&ir_json)?;
        let summary = PlanSummary {
            step_count: graph.len(),
            chain_count: graph.chain_count(),
            default_runner: "vm".to_owned(),
        };
        Ok(Self {
            graph,
            ir_json,
            summary,
        })
    }
}

/// Git metadata of the worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceMeta {
    /// The branch.
    pub branch: Option<String>,
    /// The commit's full hash.
    pub commit: Option<String>,
    /// The commit's message, or what `--message` says.
    pub message: Option<String>,
    /// `owner/repo` when there is a remote.
    pub repo_name: Option<String>,
    /// The tag of the commit, the last one by name of several.
    pub tag: Option<String>,
}

/// The variables by which pipeline files and steps know the source.
pub const SOURCE_VARIABLES: [&str; 3] = ["HM_BRANCH", "HM_COMMIT", "HM_TAG"];

impl SourceMeta {
    /// What pipeline files and steps know of the source: [`SOURCE_VARIABLES`], without those that nothing is known for.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        let values = [&self.branch, &self.commit, &self.tag];
        let known = SOURCE_VARIABLES.into_iter().zip(values);
        known
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect()
    }

    /// What a step of the run is told by variables, below those of the plan: that it runs in CI, which run it is, and what
    /// is known of the source. None of it is in a cache key.
    #[must_use]
    pub fn step_variables(&self, run_id: uuid::Uuid) -> BTreeMap<String, String> {
        let mut variables = self.variables();
        variables.insert("CI".into(), "true".into());
        variables.insert("HM_RUN_ID".into(), run_id.to_string());
        variables
    }
}

/// Where a run takes over from an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// Steps that count as done, by key, with the snapshot that each left.
    pub done: BTreeMap<String, SnapshotRef>,
}

/// Per-run options from the CLI's flags.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Run every step, whatever is cached; what passes is cached again.
    pub no_cache: bool,
    /// The most that the whole build may take.
    pub timeout: Option<Duration>,
    /// Wait for the build's end and tell its events. `false`: submit and return.
    pub watch: bool,
    /// Run what does not depend on a failed step to its end.
    pub keep_going: bool,
    /// How many steps may run at once; `None` is the backend's choice.
    pub parallelism: Option<NonZeroUsize>,
    /// Run this step alone (and what it builds in, where that has no snapshot); the others are skipped.
    pub only: Option<String>,
    /// Run this step, cached or not, and all that descends from it; its ancestors come from their snapshots
    /// where these exist, and the rest is skipped.
    pub from: Option<String>,
    /// What stands in for an image's name on this machine.
    pub images: ImageMap,
    /// Which images the plan may name by their paths.
    pub image_paths: PlanPaths,
    /// Bring `.git` into the source.
    pub include_git: bool,
    /// What a step may use up unless the plan says otherwise.
    pub limits: Limits,
    /// What a step may reach unless the plan says otherwise.
    pub network: Network,
    /// How many bytes an entry of a step's artifacts may have unless the plan says otherwise.
    pub artifact_bytes: u64,
    /// How long a step that is canceled or timed out may take to end after SIGTERM, unless the plan says otherwise.
    pub grace: Duration,
    /// Take over from an earlier run.
    pub resume: Option<Resume>,
}

/// What an entry of a step's artifacts may have where nobody says otherwise.
const ARTIFACT_BYTES: u64 = 1 << 30;

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            no_cache: false,
            timeout: None,
            watch: true,
            keep_going: false,
            parallelism: None,
            only: None,
            from: None,
            images: ImageMap::default(),
            image_paths: PlanPaths::default(),
            include_git: false,
            limits: Limits::default(),
            network: Network::default(),
            artifact_bytes: ARTIFACT_BYTES,
            grace: DEFAULT_GRACE,
            resume: None,
        }
    }
}

/// Everything needed to start a build on any backend.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Identifies the run; a backend that names its own builds reports that beside it.
    pub run_id: uuid::Uuid,
    /// What to run.
    pub plan: Plan,
    /// The worktree's root.
    pub repo_root: PathBuf,
    /// The pipeline's slug.
    pub pipeline_slug: String,
    /// Variables for every step, over the plan's own.
    pub env: BTreeMap<String, String>,
    /// The secrets that steps may ask for, by name.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Git metadata of the worktree.
    pub source: SourceMeta,
    /// The CLI's flags.
    pub options: RunOptions,
    /// The pipeline's slug on the server, already resolved.
    pub cloud_pipeline_slug: Option<String>,
}
