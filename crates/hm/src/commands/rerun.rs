//! `hm rerun`: a past run's plan, variables and options, over today's source.

use std::collections::BTreeMap;

use hm_exec::{Plan, Resume, RunRequest, SourceMeta};
use hm_plugin_protocol::executor::SnapshotRef;

use super::execute::Execution;
use super::run::known_step;
use crate::backend::artifact_bytes;
use crate::cli::RerunArgs;
use crate::cloud::at_its_server;
use crate::config::BackendChoice;
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};
use crate::record::{FinishedSteps, RecordedStatus, Run};
use crate::{repository, secrets};

/// Runs again what was run before.
///
/// # Errors
/// When there is no such run or step, or the build cannot be started.
pub fn rerun(mut context: Context, args: &RerunArgs) -> Result<u8> {
    context.take_show_flags(&args.show);
    let mut config = context.config()?;
    let run = context.runs()?.find(args.run.as_deref(), context.maybe_root())?;
    let record = run.record()?;
    if !record.repo_root.is_dir() {
        return Err(Failure::plain_usage(format!(
            "{}, the repository of run {}, is not there any more",
            record.repo_root.display(),
            run.short_id()
        )));
    }
    config.backend = BackendChoice::recorded_as(&record.backend).or(config.backend);
    config.platform = record.options.platform()?.or(config.platform);
    let plan = Plan::parse(run.plan()?).map_err(|error| Failure::Plan {
        from: format!("the plan of run {}", run.short_id()),
        error,
    })?;
    let mut options = record.options.repeat();
    options.no_cache = args.no_cache;
    if let Some(step) = &args.from {
        known_step(&plan, step)?;
        options.from = Some(step.clone());
        options.resume = Some(Resume {
            done: left_before(&run, &plan, step)?,
        });
    } else if args.failed {
        if record.status == Some(RecordedStatus::Submitted) {
            return Err(Failure::usage(
                format!(
                    "nobody watched run {}: what failed is not known here",
                    run.short_id()
                ),
                ["`hm cloud build list` shows it; `hm rerun` runs all of it again"],
            ));
        }
        options.resume = Some(Resume { done: passed(&run)? });
    }
    options.artifact_bytes = config.artifact_bytes;
    if config.backend == Some(BackendChoice::Cloud) {
        at_its_server(&context, &mut config, &run, record.server.as_deref())?;
        options.artifact_bytes = artifact_bytes(&context, &config);
    }
    let mut flags = record.secrets;
    flags.extend(secrets::parse_flags(&args.secrets.secret, &context.environment)?);
    let secrets = secrets::of_run(&context, &config, &record.repo_root, &plan, &flags)?;
    let meta = repository::source_meta(&record.repo_root);
    let request = RunRequest {
        run_id: uuid::Uuid::new_v4(),
        plan,
        repo_root: record.repo_root,
        pipeline_slug: record.pipeline,
        env: record.env,
        secrets: secrets.values.clone(),
        source: SourceMeta {
            branch: record.branch.or(meta.branch),
            message: record.message,
            ..meta
        },
        options,
        cloud_pipeline_slug: None,
    };
    let execution = Execution {
        request,
        images: record.options.images,
        python_started: 0,
        stats: context.environment.get(env_vars::HM_STATS).map(Into::into),
        secrets,
        secret_flags: flags,
        artifacts: args.artifacts.clone(),
    };
    execution.run(&context, &config)
}

/// What the steps that passed left.
fn passed(run: &Run) -> Result<BTreeMap<String, SnapshotRef>> {
    let steps = FinishedSteps::of(run.events(false)?);
    if steps.failed.is_empty() {
        return Err(Failure::usage(
            format!("no step of run {} failed", run.short_id()),
            ["`hm rerun` runs all of it again"],
        ));
    }
    Ok(steps
        .snapshots
        .into_iter()
        .filter(|(key, _)| steps.passed.contains(key))
        .collect())
}

/// What the steps that `step` waits for left, as far as they passed.
fn left_before(run: &Run, plan: &Plan, step: &str) -> Result<BTreeMap<String, SnapshotRef>> {
    let steps = FinishedSteps::of(run.events(false)?);
    let Some(index) = plan.graph.index_of(step) else {
        return Ok(BTreeMap::new());
    };
    let ancestors = plan.graph.ancestors(index);
    let done = ancestors
        .into_iter()
        .map(|ancestor| plan.graph.step(ancestor).key.as_str())
        .filter_map(|key| {
            let left = steps.snapshots.get(key).filter(|_| steps.passed.contains(key))?;
            Some((key.to_owned(), left.clone()))
        });
    Ok(done.collect())
}
