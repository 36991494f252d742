//! `hm run`.

use hm_exec::{RunOptions, RunRequest, SourceMeta};

use super::execute::Execution;
use crate::backend::{artifact_bytes, leave_what_is_of_here};
use crate::choices::BackendChoice;
use crate::cli::RunArgs;
use crate::config::Config;
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};
use crate::{pipelines, secret_source, secrets, suggest};

/// Runs a pipeline.
///
/// # Errors
/// When it cannot be started, or the backend cannot go on.
pub fn run(mut context: Context, args: &RunArgs) -> Result<u8> {
    context.take_run_flags(args);
    let config = context.config()?;
    let env = pipelines::variables(&context, &args.pipeline)?;
    let repo_root = match (context.maybe_root(), &args.pipeline.plan) {
        (None, Some(_)) => context.environment.cwd.clone(),
        _ => context.root()?.to_path_buf(),
    };
    let source = pipelines::source(Some(&repo_root), &args.pipeline);
    let chosen = pipelines::choose(&context, &args.pipeline, &source, &env)?;
    for step in args.only.iter().chain(&args.from) {
        known_step(&chosen.plan, step)?;
    }
    let flags = secret_source::parse_flags(&args.secrets.secret, &context.environment)?;
    let secrets = secrets::of_run(&context, &config, &repo_root, &chosen.plan, &flags)?;
    let mut options = options(args, &config);
    let mut images = context.image_names();
    if config.backend == Some(BackendChoice::Cloud) {
        options.artifact_bytes = artifact_bytes(&context, &config);
        leave_what_is_of_here(&context, &mut options, &mut images);
    }
    let request = RunRequest {
        run_id: uuid::Uuid::new_v4(),
        plan: chosen.plan,
        pipeline_slug: chosen.slug,
        env,
        secrets: secrets.values.clone(),
        source: SourceMeta {
            message: args.message.clone(),
            ..source
        },
        repo_root,
        options,
        cloud_pipeline_slug: None,
    };
    let stats = args
        .stats
        .clone()
        .or_else(|| context.environment.get(env_vars::HM_STATS).map(Into::into));
    let execution = Execution {
        request,
        images,
        python_started: chosen.python_started,
        stats,
        secrets,
        secret_flags: flags,
        artifacts: args.artifacts.clone(),
        plan_file: args.pipeline.plan.is_some(),
    };
    execution.run(&context, &config)
}

fn options(args: &RunArgs, config: &Config) -> RunOptions {
    RunOptions {
        no_cache: args.no_cache,
        timeout: args.timeout,
        watch: !args.no_watch,
        keep_going: config.keep_going,
        grace: config.grace,
        parallelism: config.parallelism,
        only: args.only.clone(),
        from: args.from.clone(),
        images: config.images.clone(),
        include_git: config.git,
        limits: config.limits.clone(),
        network: config.network,
        artifact_bytes: config.artifact_bytes,
        ..RunOptions::default()
    }
}

/// Refuses a step that the plan has not, and says which one may be meant.
///
/// # Errors
/// When the plan has no such step.
pub(super) fn known_step(plan: &hm_exec::Plan, step: &str) -> Result<()> {
    let keys: Vec<&str> = super::graph::keys(plan);
    if keys.contains(&step) {
        return Ok(());
    }
    let hint = match suggest::nearest(step, keys.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its steps: {}", keys.join(", ")),
    };
    Err(Failure::usage(format!("the plan has no step `{step}`"), [hint]))
}
