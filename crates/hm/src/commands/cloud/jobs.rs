//! `hm cloud job`.

use futures::StreamExt;
use harmont_client::models::Job;
use harmont_client::{LogEvent, StreamKind};
use serde_json::{Value, json};

use super::{Asked, head, json_lines, or_dash};
use crate::cli::BuildArgs;
use crate::commands::table;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::suggest;

/// Lists a build's jobs.
pub(super) async fn list(asked: &Asked<'_>, args: &BuildArgs, json: bool) -> Result<String> {
    let build = asked.build(args).await?;
    let found = asked
        .session
        .client
        .jobs(&asked.org, &build.pipeline_slug, build.number)
        .await?;
    if json {
        return json_lines(found.iter().map(as_json));
    }
    Ok(as_table(&found))
}

pub(super) fn as_table(found: &[Job]) -> String {
    let mut rows = vec![head(["JOB", "STATE", "EXIT", "TOOK", "NAME"])];
    rows.extend(found.iter().map(|job| {
        let took = job.started_at.zip(job.finished_at);
        let took = took.map(|(started, end)| table::duration((end - started).num_milliseconds().max(0)));
        vec![
            or_dash(job.step_key.clone()),
            job.state.to_string(),
            or_dash(job.exit_code.map(|code| code.to_string())),
            or_dash(took),
            or_dash(job.name.clone()),
        ]
    }));
    table::columns(&rows)
}

pub(super) fn as_json(job: &Job) -> Value {
    json!({
        "key": job.step_key,
        "id": job.id,
        "name": job.name,
        "command": job.command,
        "state": job.state,
        "exit_code": job.exit_code,
        "error_message": job.error_message,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    })
}

/// Prints what a step says, until it has ended: to standard output what it writes there, all else to standard error.
pub(super) async fn log(asked: &Asked<'_>, args: &BuildArgs, step: &str) -> Result<u8> {
    let build = asked.build(args).await?;
    let (client, pipeline) = (&asked.session.client, &build.pipeline_slug);
    let found = client.jobs(&asked.org, pipeline, build.number).await?;
    let is_it = |job: &&Job| job.step_key.as_deref() == Some(step);
    let Some(job) = found.iter().find(is_it) else {
        let keys: Vec<&str> = found.iter().filter_map(|job| job.step_key.as_deref()).collect();
        let hint = suggest::nearest(step, keys.iter().copied()).map_or_else(
            || format!("its jobs: {}", keys.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failure::usage(
            format!("build {} of {pipeline} has no job `{step}`", build.number),
            [hint],
        ));
    };
    let mut log = client.job_log(&asked.org, pipeline, build.number, job.id);
    let printer = asked.context.printer;
    while let Some(event) = log.next().await {
        let chunks = match event? {
            LogEvent::History(chunks) => chunks,
            LogEvent::Chunk(chunk) => vec![chunk],
            LogEvent::Done => break,
        };
        for chunk in chunks {
            match chunk.stream {
                StreamKind::Stdout => printer.data(&chunk.content),
                _ => printer.data_beside(&chunk.content),
            }
            .map_err(Failure::Output)?;
        }
    }
    Ok(exit::PASSED)
}
