//! From `.hm/` to a plan.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hm_dsl::{RenderRequest, Rendered, RenderedPipeline};
use hm_exec::{Plan, SOURCE_VARIABLES, SourceMeta};

use crate::cli::PipelineArgs;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::{repository, suggest};

/// The name of a plan that came from a file.
const UNNAMED: &str = "plan";

/// A plan, ready to run.
#[derive(Debug)]
pub struct Chosen {
    /// The pipeline's name.
    pub slug: String,
    /// The plan.
    pub plan: Plan,
    /// Python interpreters started to get it.
    pub python_started: u64,
}

/// The plan that the command line asks for.
///
/// # Errors
/// When there is no such pipeline, it does not render, or the plan is refused.
pub fn choose(
    context: &Context,
    args: &PipelineArgs,
    source: &SourceMeta,
    env: &BTreeMap<String, String>,
) -> Result<Chosen> {
    let (slug, text, python_started) = text(context, args, source, env)?;
    let from = args
        .plan
        .as_ref()
        .map_or_else(|| format!("pipeline `{slug}`"), |path| path.display().to_string());
    let plan = Plan::parse(text).map_err(|error| Failure::Plan { from, error })?;
    Ok(Chosen {
        slug,
        plan,
        python_started,
    })
}

/// The plan's text, byte for byte, before it is parsed: the pipeline's name, the text, Pythons started.
///
/// # Errors
/// When there is no such pipeline, or it does not render.
pub fn text(
    context: &Context,
    args: &PipelineArgs,
    source: &SourceMeta,
    env: &BTreeMap<String, String>,
) -> Result<(String, String, u64)> {
    if let Some(path) = &args.plan {
        return Ok((slug_of(path), read_plan(context, path)?, 0));
    }
    let rendered = render_all(context, context.root()?, source, env)?;
    let python_started = u64::from(rendered.python_started);
    let chosen = pick(rendered.pipelines, args.pipeline.as_deref())?;
    Ok((chosen.slug, chosen.ir_json, python_started))
}

/// The source as pipeline files and steps know it: the branch is the command line's where that names one.
#[must_use]
pub fn source(root: Option<&Path>, args: &PipelineArgs) -> SourceMeta {
    let meta = root.map(repository::source_meta).unwrap_or_default();
    SourceMeta {
        branch: args.branch.clone().or(meta.branch),
        ..meta
    }
}

/// All pipelines of the repository at `root`.
///
/// # Errors
/// When there is none, or one does not render.
pub fn render_all(
    context: &Context,
    root: &Path,
    source: &SourceMeta,
    env: &BTreeMap<String, String>,
) -> Result<Rendered> {
    let mut variables = context.environment.variables().clone();
    variables.retain(|name, _| !SOURCE_VARIABLES.contains(&name.as_str()));
    variables.extend(source.variables());
    variables.extend(env.clone());
    let cache_dir = context.config()?.data_dir.join("plans");
    hm_fs::create_private(&cache_dir).map_err(Failure::io("cannot create", &cache_dir))?;
    let request = RenderRequest {
        root: root.to_path_buf(),
        python: None,
        cache_dir,
        env: variables,
        now: std::time::SystemTime::now(),
    };
    let rendered = hm_dsl::render(&request).map_err(Failure::Pipeline)?;
    for line in rendered.printed.lines() {
        context.printer.note(line);
    }
    let how = if rendered.from_cache {
        "the plan is as it was"
    } else {
        "ran the pipeline files"
    };
    context.printer.detail(how);
    if let Some(reason) = &rendered.uncacheable {
        context.printer.detail(&format!("the plan is not kept: {reason}"));
    }
    Ok(rendered)
}

/// The pipeline of that name; without a name the one that a person may start, if there is only one.
fn pick(pipelines: Vec<RenderedPipeline>, wanted: Option<&str>) -> Result<RenderedPipeline> {
    let slugs: Vec<String> = pipelines.iter().map(|pipeline| pipeline.slug.clone()).collect();
    let listed = format!("the pipelines: {}", slugs.join(", "));
    let Some(wanted) = wanted else {
        let mut startable = pipelines.into_iter().filter(|pipeline| pipeline.allow_manual);
        return match (startable.next(), startable.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(Failure::usage(
                "there is more than one pipeline: say which",
                [listed],
            )),
            (None, _) => Err(Failure::usage(
                "no pipeline here is started by hand: say which",
                [listed],
            )),
        };
    };
    if let Some(found) = pipelines.into_iter().find(|pipeline| pipeline.slug == wanted) {
        return Ok(found);
    }
    let near = suggest::nearest(wanted, slugs.iter().map(String::as_str));
    let hint = near.map_or(listed, |near| format!("did you mean `{near}`?"));
    Err(Failure::usage(format!("there is no pipeline `{wanted}`"), [hint]))
}

/// `-e KEY=VALUE`, or `-e KEY` from the environment.
///
/// # Errors
/// When a name is empty, or its value is to come from the environment and is not there.
pub fn variables(context: &Context, args: &PipelineArgs) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some(("", _)) => Err(Failure::plain_usage(format!(
            "-e {text}: a variable needs a name"
        ))),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match context.environment.variables().get(text) {
            Some(value) => Ok((text.clone(), value.clone())),
            None => Err(Failure::usage(
                format!("-e {text}: the environment has no variable of that name"),
                [format!("set it here with `-e {text}=VALUE`")],
            )),
        },
    };
    args.env.iter().map(pair).collect()
}

/// Reads no more than a plan may have: a device has no end.
fn read_plan(context: &Context, path: &Path) -> Result<String> {
    let limit = hm_pipeline_ir::MAX_PLAN_BYTES;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
    } else {
        File::open(context.environment.cwd.join(path))
            .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
    };
    read.map_err(Failure::io("cannot read", path))?;
    if bytes.len() > limit {
        return Err(Failure::usage(
            format!(
                "{}: the plan is longer than the {limit} bytes that hm takes",
                path.display()
            ),
            ["split the pipeline, or have its steps read large data from files"],
        ));
    }
    String::from_utf8(bytes)
        .map_err(|error| Failure::plain_usage(format!("{}: the plan is not UTF-8: {error}", path.display())))
}

fn slug_of(path: &Path) -> String {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .filter(|stem| *stem != "-");
    stem.unwrap_or(UNNAMED).to_owned()
}
