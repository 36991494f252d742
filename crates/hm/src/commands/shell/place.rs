//! `[RUN/]STEP[@before|@after]`: which snapshot that is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hm_exec::{Plan, SourceMeta};
use hm_oci::Platform;
use hm_pipeline_ir::{PipelineGraph, SecretUse};
use hm_vm::{ImageMap, ImageReference, SnapshotId};

use crate::address::{self, Moment};
use crate::config::BackendChoice;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::record::{FinishedSteps, Run};
use crate::secrets::SecretSource;

/// What a machine starts from.
#[derive(Debug)]
pub enum Start {
    /// What a step left.
    Snapshot(SnapshotId),
    /// A root step's image.
    Image(ImageReference),
    /// The backend's own.
    DefaultImage,
}

/// A place to open a shell in.
#[derive(Debug)]
pub struct Place {
    /// The run.
    pub run: Run,
    /// What to call it: `STEP@after`.
    pub label: String,
    /// What the machine starts from.
    pub start: Start,
    /// The frozen source that the run saw.
    pub source_id: Option<String>,
    /// The step sees `.git`.
    pub include_git: bool,
    /// The run's repository.
    pub repo_root: PathBuf,
    /// The step's environment.
    pub env: BTreeMap<String, String>,
    /// The secrets that the step asks for.
    pub secrets: Vec<SecretUse>,
    /// Where `--secret` said that values are.
    pub secret_flags: BTreeMap<String, SecretSource>,
    /// What stood in for images.
    pub images: ImageMap,
    /// What ran it.
    pub backend: Option<BackendChoice>,
    /// The platform of images that was asked for.
    pub platform: Option<Platform>,
}

/// Finds the place that the user names.
///
/// # Errors
/// When there is no such run or step, or it left nothing.
pub fn find(context: &Context, target: &str) -> Result<Place> {
    let named = address::step(context, target)?;
    let (run, place) = (named.run, named.step.unwrap_or_default());
    let record = run.record()?;
    if BackendChoice::recorded_as(&record.backend) == Some(BackendChoice::Cloud) {
        return Err(Failure::usage(
            format!(
                "run {} was a server's: what its steps left is on the agent, and not here",
                run.short_id()
            ),
            [format!(
                "run it here first: `hm run {}`, then `hm shell {place}`",
                record.pipeline
            )],
        ));
    }
    let steps = FinishedSteps::of(run.events(false)?);
    let (key, moment) = address::known_step(&run, &steps, &place)?;
    let key = key.as_str();
    let plan = Plan::parse(run.plan()?).map_err(|error| Failure::Plan {
        from: format!("the plan of run {}", run.short_id()),
        error,
    })?;
    let step = plan.graph.index_of(key).map(|index| plan.graph.step(index));
    let include_git = record.options.git || asks_for_git(&plan.graph, key);
    let source = SourceMeta {
        branch: record.branch,
        commit: record.commit,
        tag: record.tag,
        ..SourceMeta::default()
    };
    let mut env = source.step_variables(record.run_id);
    env.extend(step.map(|step| step.env.clone()).unwrap_or_default());
    env.extend(record.env);
    let secrets = step.map(|step| step.secrets.clone()).unwrap_or_default();
    let image = step
        .and_then(|step| step.image.as_deref())
        .or_else(|| plan.graph.default_image());
    let start = match moment {
        Moment::After => after(&run, &steps, key)?,
        Moment::Before => match steps.parents.get(key) {
            Some(parent) => after(&run, &steps, parent)?,
            None => image.map_or(Start::DefaultImage, |image| {
                Start::Image(ImageReference::new(image))
            }),
        },
    };
    Ok(Place {
        label: format!(
            "{key}@{}",
            if moment == Moment::After {
                "after"
            } else {
                "before"
            }
        ),
        start,
        source_id: steps.source_id,
        images: record.options.repeat().images,
        backend: BackendChoice::recorded_as(&record.backend),
        platform: record.options.platform()?,
        include_git,
        repo_root: record.repo_root,
        env,
        secrets,
        secret_flags: record.secrets,
        run,
    })
}

/// Whether a step, or one that it builds in, asks for `.git`.
fn asks_for_git(graph: &PipelineGraph, key: &str) -> bool {
    std::iter::successors(graph.index_of(key), |index| graph.parent(*index))
        .any(|index| graph.step(index).git)
}

fn after(run: &Run, steps: &FinishedSteps, key: &str) -> Result<Start> {
    match steps.snapshots.get(key) {
        Some(snapshot) => Ok(Start::Snapshot(SnapshotId(snapshot.0.clone()))),
        None => Err(Failure::usage(
            format!(
                "step `{key}` of run {} left nothing: it did not run to its end",
                run.short_id()
            ),
            [format!(
                "`hm shell {}/{key}@before` opens what it would start from",
                run.short_id()
            )],
        )),
    }
}
