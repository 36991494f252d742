//! `hm rerun`: a past run's pipeline as it is today, with its variables and options, over today's source.

use std::collections::BTreeMap;

use hm_dsl::DslError;
use hm_exec::{Plan, Resume, RunRequest, SourceMeta};
use hm_pipeline_ir::Step;
use hm_plugin_protocol::executor::SnapshotRef;

use super::execute::Execution;
use super::run::known_step;
use crate::backend::artifact_bytes;
use crate::choices::BackendChoice;
use crate::cli::RerunArgs;
use crate::cloud::at_its_server;
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};
use crate::record::{FinishedSteps, RecordedStatus, Run, RunRecord};
use crate::{address, pipelines, repository, secret_source, secrets};

/// Runs again what was run before.
///
/// # Errors
/// When there is no such run or step, or the build cannot be started.
pub fn rerun(mut context: Context, args: &RerunArgs) -> Result<u8> {
    context.take_show_flags(&args.show);
    let mut config = context.config()?;
    let named = match (&args.run, &args.from) {
        (None, Some(from)) => address::step(&context, from)?,
        (run, _) => address::run_or_step(&context, run.as_deref())?,
    };
    let run = named.run;
    let from = args.from.clone().filter(|_| args.run.is_some()).or(named.step);
    // One that the run had not may be in today's pipeline file.
    let from = from.map(|step| match address::key(&run, Some(&step)) {
        Ok(Some(key)) => key,
        _ => step,
    });
    if from.is_some() && (args.failed || args.no_cache) {
        return Err(Failure::plain_usage(
            "a step to start from goes with neither --failed nor --no-cache",
        ));
    }
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
    let meta = repository::source_meta(&record.repo_root);
    let source = SourceMeta {
        branch: meta.branch.or_else(|| record.branch.clone()),
        message: record.message.clone(),
        ..meta
    };
    let recorded = Plan::parse(run.plan()?).map_err(|error| Failure::Plan {
        from: format!("the plan of run {}", run.short_id()),
        error,
    })?;
    let steps = FinishedSteps::of(run.events(false)?);
    let wanted: Vec<&str> = match &from {
        Some(step) => vec![step],
        None if args.failed => steps.failed.iter().map(String::as_str).collect(),
        None => Vec::new(),
    };
    let Planned { plan, python_started } = planned(&context, args, &record, &source, &recorded, &wanted)?;
    let mut options = record.options.repeat();
    options.no_cache = args.no_cache;
    if let Some(step) = &from {
        known_step(&plan, step)?;
        options.from = Some(step.clone());
        options.resume = Some(Resume {
            done: left_before(&steps, &recorded, &plan, step),
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
        options.resume = Some(Resume {
            done: passed(&run, &steps, &recorded, &plan)?,
        });
    }
    options.artifact_bytes = config.artifact_bytes;
    if config.backend == Some(BackendChoice::Cloud) {
        at_its_server(&context, &mut config, &run, record.server.as_deref())?;
        options.artifact_bytes = artifact_bytes(&context, &config);
    }
    let mut flags = record.secrets;
    flags.extend(secret_source::parse_flags(
        &args.secrets.secret,
        &context.environment,
    )?);
    let secrets = secrets::of_run(&context, &config, &record.repo_root, &plan, &flags)?;
    let request = RunRequest {
        run_id: uuid::Uuid::new_v4(),
        plan,
        repo_root: record.repo_root,
        pipeline_slug: record.pipeline,
        env: record.env,
        secrets: secrets.values.clone(),
        source,
        options,
        cloud_pipeline_slug: None,
    };
    let execution = Execution {
        request,
        images: record.options.images,
        python_started,
        stats: context.environment.get(env_vars::HM_STATS).map(Into::into),
        secrets,
        secret_flags: flags,
        artifacts: args.artifacts.clone(),
        plan_file: record.plan_file,
    };
    execution.run(&context, &config)
}

/// The plan to run, and the Pythons started to get it.
struct Planned {
    plan: Plan,
    python_started: u64,
}

/// What the pipeline file says today, where it still has the pipeline and the steps that are asked for; else what the run
/// had. Which of the two it is is said wherever they differ.
fn planned(
    context: &Context,
    args: &RerunArgs,
    record: &RunRecord,
    source: &SourceMeta,
    recorded: &Plan,
    wanted: &[&str],
) -> Result<Planned> {
    let as_recorded = |note: Option<String>| {
        if let Some(note) = note {
            context
                .printer
                .note(&format!("{note}: this is the plan that the run had"));
        }
        Ok(Planned {
            plan: recorded.clone(),
            python_started: 0,
        })
    };
    if args.as_recorded || record.plan_file {
        return as_recorded(None);
    }
    let rendered = match pipelines::render_all(context, &record.repo_root, source, &record.env) {
        Ok(rendered) => rendered,
        Err(Failure::Pipeline(DslError::NoPipelineFile { .. })) => {
            return as_recorded(Some("the repository has no pipeline file any more".into()));
        }
        Err(error) => {
            context
                .printer
                .note("the pipeline file of today cannot be used; `hm rerun --as-recorded` takes the plan that the run had");
            return Err(error);
        }
    };
    let python_started = u64::from(rendered.python_started);
    let slug = &record.pipeline;
    let Some(today) = rendered
        .pipelines
        .into_iter()
        .find(|pipeline| pipeline.slug == *slug)
    else {
        return as_recorded(Some(format!(
            "the pipeline files have no pipeline `{slug}` any more"
        )));
    };
    if today.ir_json == recorded.ir_json {
        return as_recorded(None);
    }
    let plan = Plan::parse(today.ir_json).map_err(|error| Failure::Plan {
        from: format!("pipeline `{slug}`"),
        error,
    })?;
    let known = |step: &&&str| recorded.graph.index_of(step).is_some();
    if let Some(gone) = wanted
        .iter()
        .filter(known)
        .find(|step| plan.graph.index_of(step).is_none())
    {
        return as_recorded(Some(format!("pipeline `{slug}` has no step `{gone}` any more")));
    }
    if !same_steps(recorded, &plan) {
        context.printer.note(&format!(
            "pipeline `{slug}` has changed since: this is today's; --as-recorded takes the plan that the run had"
        ));
    }
    Ok(Planned { plan, python_started })
}

/// Whether two plans run the same, whatever keys their policies have today.
fn same_steps(recorded: &Plan, today: &Plan) -> bool {
    recorded.graph.len() == today.graph.len()
        && recorded
            .graph
            .steps()
            .all(|(_, step)| unchanged(recorded, today, step.key.as_str()))
}

/// Whether a step, and all that it builds in, runs in both plans the same.
fn unchanged(recorded: &Plan, today: &Plan, key: &str) -> bool {
    let mut both = (recorded.graph.index_of(key), today.graph.index_of(key));
    loop {
        match both {
            (None, None) => return true,
            (Some(then), Some(now)) if same_work(recorded.graph.step(then), today.graph.step(now)) => {
                both = (recorded.graph.parent(then), today.graph.parent(now));
            }
            _ => return false,
        }
    }
}

/// Whether two steps leave the same: how they are cached, and how long they may take, does not count.
fn same_work(then: &Step, now: &Step) -> bool {
    then.key == now.key
        && (&then.cmd, &then.shell, &then.env, &then.image) == (&now.cmd, &now.shell, &now.env, &now.image)
        && (&then.services, &then.secrets, &then.caches) == (&now.services, &now.secrets, &now.caches)
        && (then.git, then.network) == (now.git, now.network)
        && (&then.runner, &then.runner_args) == (&now.runner, &now.runner_args)
}

/// What the steps that passed left, but for those that run otherwise today.
fn passed(
    run: &Run,
    steps: &FinishedSteps,
    recorded: &Plan,
    today: &Plan,
) -> Result<BTreeMap<String, SnapshotRef>> {
    if steps.failed.is_empty() {
        return Err(Failure::usage(
            format!("no step of run {} failed", run.short_id()),
            ["`hm rerun` runs all of it again"],
        ));
    }
    let left = steps
        .snapshots
        .iter()
        .filter(|(key, _)| steps.passed.contains(*key));
    Ok(left
        .filter(|(key, _)| unchanged(recorded, today, key))
        .map(|(key, snapshot)| (key.clone(), snapshot.clone()))
        .collect())
}

/// What the steps that `step` waits for left, as far as they passed and run the same today.
fn left_before(
    steps: &FinishedSteps,
    recorded: &Plan,
    today: &Plan,
    step: &str,
) -> BTreeMap<String, SnapshotRef> {
    let Some(index) = today.graph.index_of(step) else {
        return BTreeMap::new();
    };
    let ancestors = today.graph.ancestors(index);
    ancestors
        .into_iter()
        .map(|ancestor| today.graph.step(ancestor).key.as_str())
        .filter(|key| unchanged(recorded, today, key))
        .filter_map(|key| {
            let left = steps.snapshots.get(key).filter(|_| steps.passed.contains(key))?;
            Some((key.to_owned(), left.clone()))
        })
        .collect()
}
