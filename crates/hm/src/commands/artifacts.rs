//! `hm artifacts`: what a run's steps have made.

use hm_exec::local::{Artifact, ArtifactStore};

use super::table;
use crate::artifacts::copy_out;
use crate::cli::ArtifactsArgs;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::{address, exit};

/// Lists a run's artifacts, or copies them out.
///
/// # Errors
/// When there is no such run or step, or a copy cannot be written.
pub fn artifacts(context: &Context, args: &ArtifactsArgs) -> Result<u8> {
    let config = context.config()?;
    let named = address::run_or_step(context, args.run.as_deref())?;
    let run = named.run;
    let step = address::key(&run, args.step.as_deref().or(named.step.as_deref()))?;
    let store = ArtifactStore::new(&config.data_dir);
    let record = run.record()?;
    let mut found = store.of_run(record.run_id)?;
    found.retain(|artifact| step.as_ref().is_none_or(|step| *step == artifact.step));
    if let Some(to) = &args.to {
        let to = context.environment.cwd.join(to);
        let copied = copy_out(&store, &found, &to)?;
        context.printer.note(&told(copied, &to.display().to_string()));
        return Ok(exit::PASSED);
    }
    let text = if args.json {
        as_json(&found)?
    } else {
        as_table(&found)
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    if found.is_empty() && !args.json {
        let none = if record.server.is_some() {
            "was a server's: what it made stays with the agent"
        } else {
            "has made no artifacts"
        };
        context.printer.note(&format!("run {} {none}", run.short_id()));
    }
    Ok(exit::PASSED)
}

/// What was copied where, in words.
pub(super) fn told(copied: u64, to: &str) -> String {
    match copied {
        1 => format!("1 artifact in {to}"),
        copied => format!("{copied} artifacts in {to}"),
    }
}

fn as_table(found: &[Artifact]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut rows = vec![["STEP", "PATH", "SIZE", "TESTS"].map(str::to_owned).to_vec()];
    for artifact in found {
        let tests = artifact.tests.as_ref().map_or_else(String::new, |tests| {
            let skipped = match tests.skipped {
                0 => String::new(),
                skipped => format!(", {skipped} skipped"),
            };
            format!("{} of {} failed{skipped}", tests.failed, tests.total)
        });
        rows.push(vec![
            artifact.step.clone(),
            artifact.path.clone(),
            table::size(artifact.bytes),
            tests,
        ]);
    }
    table::columns(&rows)
}

fn as_json(found: &[Artifact]) -> Result<String> {
    let mut text = String::new();
    for artifact in found {
        text.push_str(&serde_json::to_string(artifact).map_err(|error| Failure::Output(error.into()))?);
        text.push('\n');
    }
    Ok(text)
}
