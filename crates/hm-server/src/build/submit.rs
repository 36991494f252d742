//! Submitting a build.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Utc;
use harmont_client::models::BuildOptions;
use hm_pipeline_ir::{PipelineGraph, PlanError};
use serde::Deserialize;

use crate::blobs::BlobName;
use crate::build::Fault;
use crate::model::{Build, NewBuild, NewJob, Pipeline, SourceArchive};
use crate::queue::NewItem;
use crate::state::App;
use crate::{BuildId, JobId};

/// The error code of a build whose plan was refused.
pub(super) const PLAN_REJECTED: &str = "plan_rejected";

/// What is submitted. Its source archive is stored already.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) id: BuildId,
    pub(crate) branch: String,
    pub(crate) commit: String,
    pub(crate) message: Option<String>,
    pub(crate) trigger: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) options: BuildOptions,
    pub(crate) archive: SourceArchive,
    pub(crate) plan: String,
    /// What its log begins with.
    pub(crate) note: Option<String>,
}

/// Why there is no build, or only a failed one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    /// The plan was refused; the build is there, failed.
    #[error("{error}")]
    Rejected { build: Box<Build>, error: PlanError },
    /// The plan was not parsed; there is no build.
    #[error(
        "the plan is {bytes} bytes long, more than the {limit} that this server takes: split the pipeline, or have its steps read large data from files"
    )]
    PlanTooLarge { bytes: usize, limit: usize },
    /// The plan cannot be run so; there is no build.
    #[error("{0}")]
    BadOptions(String),
    #[error(transparent)]
    Fault(Fault),
}

impl<T> From<T> for SubmitError
where
    Fault: From<T>,
{
    fn from(error: T) -> Self {
        Self::Fault(error.into())
    }
}

/// What a plan may say beside its graph: an optional `labels`, which an agent must all have to be given the build.
#[derive(Deserialize)]
struct Wishes {
    #[serde(default)]
    labels: BTreeSet<String>,
}

/// The labels of a plan; a field of another form is not ours.
fn labels(plan: &str) -> BTreeSet<String> {
    serde_json::from_str(plan)
        .map(|wishes: Wishes| wishes.labels)
        .unwrap_or_default()
}

fn jobs(graph: &PipelineGraph) -> Vec<NewJob> {
    let ids: HashMap<_, _> = graph.steps().map(|(index, _)| (index, JobId::new())).collect();
    let id = |index| ids.get(&index).copied();
    let job = |(index, step): (_, &hm_pipeline_ir::Step)| {
        Some(NewJob {
            id: id(index)?,
            key: step.key.to_string(),
            name: step.display_name(),
            command: step.cmd.clone(),
            depends_on: graph.dependencies(index).iter().copied().filter_map(id).collect(),
        })
    };
    graph.steps().filter_map(job).collect()
}

/// What of the options the plan has no step for.
fn unknown_step(graph: &PipelineGraph, options: &BuildOptions) -> Option<String> {
    let asked = [("only", &options.only), ("from", &options.from)];
    let missing = asked
        .into_iter()
        .filter_map(|(option, step)| Some((option, step.as_deref()?)))
        .find(|(_, step)| graph.index_of(step).is_none());
    missing.map(|(option, step)| format!("the plan has no step `{step}`, which `{option}` asks for"))
}

impl App {
    /// Adds a build and queues it.
    pub(crate) async fn submit(&self, pipeline: &Pipeline, new: Submission) -> Result<Build, SubmitError> {
        let (plan, options) = (new.plan, new.options);
        let limit = self.config.limits.plan;
        if plan.len() > limit {
            let bytes = plan.len();
            return Err(SubmitError::PlanTooLarge { bytes, limit });
        }
        let parsed = self.parsing.run(move || {
            let planned =
                PipelineGraph::parse(&plan).map(|graph| (jobs(&graph), unknown_step(&graph, &options)));
            let wanted = labels(&plan);
            (plan, options, planned, wanted)
        });
        let (plan, options, planned, wanted) = parsed.await?;
        let (jobs, refused) = match planned {
            Ok((_, Some(missing))) => return Err(SubmitError::BadOptions(missing)),
            Ok((jobs, None)) => (jobs, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let build = NewBuild {
            id: new.id,
            org: pipeline.org,
            pipeline: pipeline.id,
            branch: new.branch,
            commit: new.commit,
            message: new.message,
            trigger: new.trigger,
            env: new.env,
            options,
            archive: new.archive,
            plan,
            jobs,
            rejected: refused
                .as_ref()
                .map(|error| (PLAN_REJECTED.to_owned(), error.to_string())),
        };
        let now = Utc::now();
        let build = match new.note {
            None => self.store.create_build(build, now).await?,
            Some(note) => {
                // Nothing shall come before the note, not even the end of a build that is canceled at once.
                let _alone = self.live.lock(build.id).await;
                let build = self.store.create_build(build, now).await?;
                self.note(&build, note).await?;
                build
            }
        };
        if let Some(error) = refused {
            self.blobs.remove(&BlobName::source(build.id)).await?;
            self.seal(&build).await?;
            return Err(SubmitError::Rejected {
                build: Box::new(build),
                error,
            });
        }
        let item = NewItem {
            build: build.id,
            org: build.org,
            labels: wanted,
        };
        self.queue.enqueue(item, now).await?;
        Ok(build)
    }

    /// Queues what a crash left scheduled and not queued.
    pub(crate) async fn queue_scheduled(&self) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let builds = self.store.scheduled_builds(after, 100).await?;
            let Some(last) = builds.last() else {
                return Ok(());
            };
            after = Some(last.id);
            for build in builds {
                let plan = self.store.plan(build.id).await?.unwrap_or_default();
                let item = NewItem {
                    build: build.id,
                    org: build.org,
                    labels: labels(&plan),
                };
                self.queue.enqueue(item, build.created_at).await?;
            }
        }
    }
}
