//! `hm cloud job`.

use futures::StreamExt;
use harmont_client::models::Job;
use hm_exec::cloud::follow;
use hm_plugin_protocol::events::BuildEvent;
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

/// Prints what a step says, until it has ended.
pub(super) async fn log(asked: &Asked<'_>, args: &BuildArgs, step: &str) -> Result<u8> {
    let build = asked.build(args).await?;
    let client = &asked.session.client;
    let found = client
        .jobs(&asked.org, &build.pipeline_slug, build.number)
        .await?;
    let keys: Vec<&str> = found.iter().filter_map(|job| job.step_key.as_deref()).collect();
    if !keys.contains(&step) {
        let hint = suggest::nearest(step, keys.iter().copied()).map_or_else(
            || format!("its jobs: {}", keys.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failure::usage(
            format!(
                "build {} of {} has no job `{step}`",
                build.number, build.pipeline_slug
            ),
            [hint],
        ));
    }
    let (mut events, control) = follow(client.clone(), &asked.org, build, None)?.into_parts();
    let mut wanted = None;
    while let Some(event) = events.next().await {
        match event {
            BuildEvent::StepQueued { step_id, key, .. } if key == step => wanted = Some(step_id),
            BuildEvent::StepLog {
                step_id,
                line,
                partial,
                ..
            } if Some(step_id) == wanted => {
                let end = if partial { "" } else { "\n" };
                let text = format!("{line}{end}");
                asked.context.printer.data(&text).map_err(Failure::Output)?;
            }
            BuildEvent::StepEnd { step_id, .. } | BuildEvent::StepSkipped { step_id, .. }
                if Some(step_id) == wanted =>
            {
                return Ok(exit::PASSED);
            }
            BuildEvent::StepCacheHit { step_id, .. } if Some(step_id) == wanted => {
                let printer = asked.context.printer;
                printer.note(&format!("`{step}` did not run: what it does was cached"));
                return Ok(exit::PASSED);
            }
            _ => {}
        }
    }
    control.wait().await?;
    Ok(exit::PASSED)
}
