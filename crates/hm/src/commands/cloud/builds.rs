//! `hm cloud build`.

use chrono::Utc;
use harmont_client::models::Build;
use serde_json::{Value, json};

use super::{Asked, head, jobs, json_lines, or_dash, pipelines, watch};
use crate::choices::Format;
use crate::cli::BuildArgs;
use crate::commands::table;
use crate::exit;
use crate::fail::{Failure, Result};

/// How many characters of a commit are shown.
const COMMIT: usize = 10;

/// Lists builds, the newest first.
pub(super) async fn list(
    asked: &Asked<'_>,
    pipeline: Option<&str>,
    limit: u32,
    json: bool,
) -> Result<String> {
    let slugs = match pipeline {
        Some(pipeline) => vec![pipeline.to_owned()],
        None => pipelines::all(asked)
            .await?
            .into_iter()
            .map(|pipeline| pipeline.slug)
            .collect(),
    };
    let mut found = Vec::new();
    for slug in slugs {
        let page = asked
            .session
            .client
            .builds(&asked.org, &slug, Some(limit), None)
            .await?;
        found.extend(page.data);
    }
    found.sort_by_key(|build| std::cmp::Reverse(build.created_at));
    found.truncate(limit as usize);
    if json {
        return json_lines(found.iter().map(|build| as_json(asked, build)));
    }
    let mut rows = vec![head([
        "BUILD", "PIPELINE", "STATE", "WHEN", "TOOK", "BRANCH", "MESSAGE",
    ])];
    rows.extend(found.iter().map(|build| {
        vec![
            build.number.to_string(),
            build.pipeline_slug.clone(),
            build.state.to_string(),
            build.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            took(build),
            or_dash(build.branch.clone()),
            subject(build),
        ]
    }));
    Ok(table::columns(&rows))
}

/// A build and its jobs.
pub(super) async fn show(asked: &Asked<'_>, args: &BuildArgs, json: bool) -> Result<String> {
    let build = asked.build(args).await?;
    let found = asked
        .session
        .client
        .jobs(&asked.org, &build.pipeline_slug, build.number)
        .await?;
    if json {
        let mut line = as_json(asked, &build);
        line["jobs"] = found.iter().map(jobs::as_json).collect();
        return json_lines([line]);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let commit = build.commit.as_deref();
    let commit = commit.map(|commit| commit.chars().take(COMMIT).collect());
    let mut rows = vec![
        row("build", format!("{} of {}", build.number, build.pipeline_slug)),
        row("state", build.state.to_string()),
        row("branch", or_dash(build.branch.clone())),
        row("commit", or_dash(commit)),
        row("message", subject(&build)),
        row("trigger", or_dash(build.source.clone())),
        row("when", build.created_at.format("%Y-%m-%d %H:%M:%S").to_string()),
        row("took", took(&build)),
        row("watch", asked.watch_url(&build)),
    ];
    if !build.run_options.is_default() {
        let options = serde_json::to_string(&build.run_options);
        rows.push(row(
            "options",
            options.map_err(|error| Failure::Output(error.into()))?,
        ));
    }
    if let Some(error) = &build.error_message {
        rows.push(row("error", error.clone()));
    }
    for (what, removed) in [("log", build.log_removed_at), ("source", build.source_removed_at)] {
        if let Some(at) = removed {
            rows.push(row(what, format!("removed on {}", at.format("%Y-%m-%d"))));
        }
    }
    Ok(format!("{}\n{}", table::columns(&rows), jobs::as_table(&found)))
}

/// Cancels a build.
pub(super) async fn cancel(asked: &Asked<'_>, args: &BuildArgs) -> Result<u8> {
    let build = asked.build(args).await?;
    let (pipeline, number) = (&build.pipeline_slug, build.number);
    let printer = asked.context.printer;
    if build.state.is_final() {
        printer.note(&format!(
            "build {number} of {pipeline} has {} already",
            build.state
        ));
        return Ok(exit::PASSED);
    }
    let build = asked
        .session
        .client
        .cancel_build(&asked.org, pipeline, number)
        .await?;
    printer.note(&format!("build {number} of {pipeline} is {}", build.state));
    Ok(exit::PASSED)
}

/// Runs a build again, and shows the new one.
pub(super) async fn retry(asked: &Asked<'_>, args: &BuildArgs, no_watch: bool) -> Result<u8> {
    let build = asked.build(args).await?;
    let (pipeline, number) = (&build.pipeline_slug, build.number);
    let client = &asked.session.client;
    let again = client.retry_build(&asked.org, pipeline, number).await?;
    let printer = asked.context.printer;
    printer.note(&format!(
        "build {} of {pipeline} is a retry of build {number}: {}",
        again.number,
        asked.watch_url(&again)
    ));
    if no_watch {
        if asked.config.format == Some(Format::Json) {
            let line = json_lines([as_json(asked, &again)])?;
            printer.data(&line).map_err(Failure::Output)?;
        }
        return Ok(exit::PASSED);
    }
    watch::watch(asked, again).await
}

fn as_json(asked: &Asked<'_>, build: &Build) -> Value {
    json!({
        "number": build.number,
        "pipeline": build.pipeline_slug,
        "state": build.state,
        "branch": build.branch,
        "commit": build.commit,
        "message": build.message,
        "trigger": build.source,
        "run_options": build.run_options,
        "error_code": build.error_code,
        "error_message": build.error_message,
        "created_at": build.created_at,
        "started_at": build.started_at,
        "finished_at": build.finished_at,
        "log_removed_at": build.log_removed_at,
        "source_removed_at": build.source_removed_at,
        "watch_url": asked.watch_url(build),
    })
}

fn took(build: &Build) -> String {
    let Some(started) = build.started_at else {
        return "-".into();
    };
    let end = build.finished_at.unwrap_or_else(Utc::now);
    table::duration((end - started).num_milliseconds().max(0))
}

fn subject(build: &Build) -> String {
    let line = build.message.as_deref().and_then(|text| text.lines().next());
    or_dash(line.map(str::to_owned))
}
