//! `[RUN/]STEP[@before|@after]`: which snapshot that is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hm_exec::{Plan, SourceMeta};
use hm_pipeline_ir::SecretUse;
use hm_vm::oci::Platform;
use hm_vm::{ImageMap, ImageReference, SnapshotId};

use crate::config::BackendChoice;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::record::{FinishedSteps, Run};
use crate::secrets::SecretSource;
use crate::suggest;

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
    /// The run had `.git` in its source.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// Finds the place that the user names.
///
/// # Errors
/// When there is no such run or step, or it left nothing.
pub fn find(context: &Context, target: &str) -> Result<Place> {
    let store = context.runs()?;
    // A step's key may hold a slash itself, so what stands before it is a run only if it looks like one.
    let named = target.split_once('/').filter(|(run, _)| is_run_id(run));
    let (run, place) = match named {
        Some((run, key)) => (store.find(Some(run), None)?, key),
        None => (store.find(None, context.maybe_root())?, target),
    };
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
    let (key, moment) = match (place.strip_suffix("@before"), place.strip_suffix("@after")) {
        // A step's key may end like a moment, too.
        _ if steps.keys.iter().any(|known| known == place) => (place, Moment::After),
        (Some(rest), _) => (rest, Moment::Before),
        (None, Some(rest)) => (rest, Moment::After),
        (None, None) => (place, Moment::After),
    };
    if !steps.keys.iter().any(|known| known == key) {
        let near = suggest::nearest(key, steps.keys.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its steps: {}", steps.keys.join(", ")),
        };
        return Err(Failure::usage(
            format!("run {} has no step `{key}`", run.short_id()),
            [hint],
        ));
    }
    let plan = Plan::parse(run.plan()?).map_err(|error| Failure::Plan {
        from: format!("the plan of run {}", run.short_id()),
        error,
    })?;
    let step = plan.graph.index_of(key).map(|index| plan.graph.step(index));
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
        include_git: record.options.git,
        repo_root: record.repo_root,
        env,
        secrets,
        secret_flags: record.secrets,
        run,
    })
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

fn is_run_id(text: &str) -> bool {
    text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
