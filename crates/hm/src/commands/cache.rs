//! `hm cache`: the snapshots on disk.

use std::time::SystemTime;

use hm_vm::registry::{Budget, Collected, Registry};

use super::table;
use crate::backend::{Machines, sources};
use crate::cli::CacheCommand;
use crate::config::Config;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Looks at the snapshots, or removes some.
///
/// # Errors
/// When the store cannot be used, or the output cannot be written.
pub fn cache(context: &Context, command: &CacheCommand) -> Result<u8> {
    let config = context.config()?;
    let machines = Machines::new(context, &config)?;
    let registry = machines.registry(&config)?;
    let text = match command {
        CacheCommand::Ls { json } => list(&registry, *json)?,
        CacheCommand::Du { json } => usage(context, &machines, &config, *json)?,
        CacheCommand::Prune { budget } => {
            // Who names a budget means it, even below the floor.
            let budget = budget.map_or(config.cache, |max_bytes| Budget {
                max_bytes,
                floor_bytes: 0,
                ..config.cache
            });
            let vm = machines.vm();
            told(&super::runtime()?.block_on(registry.collect(vm.as_ref(), &budget))?)
        }
        CacheCommand::Clean => {
            let vm = machines.vm();
            let runtime = super::runtime()?;
            let collected = runtime.block_on(async {
                let collected = registry.clean(vm.as_ref()).await?;
                vm.reclaim().await?;
                Ok::<_, hm_vm::VmError>(collected)
            })?;
            // One that a living run or an unfinished shell lies on stays.
            sources(context, &config)
                .remove_unused()
                .map_err(hm_vm::VmError::from)?;
            told(&collected)
        }
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

fn list(registry: &Registry, json: bool) -> Result<String> {
    let mut records = registry.list()?;
    records.sort_by_key(|record| std::cmp::Reverse(record.last_used));
    if json {
        let lines = records.iter().map(|record| {
            let line = serde_json::json!({
                "id": record.id,
                "last_used": chrono::DateTime::<chrono::Utc>::from(record.last_used),
                "created": chrono::DateTime::<chrono::Utc>::from(record.created),
                "keys": record.keys,
                "in_use": record.pinned,
            });
            format!("{line}\n")
        });
        return Ok(lines.collect());
    }
    if records.is_empty() {
        return Ok(String::new());
    }
    let mut rows = vec![
        ["SNAPSHOT", "LAST USED", "CREATED", "KEYS", "IN USE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for record in &records {
        rows.push(vec![
            record.id.to_string(),
            when(record.last_used),
            when(record.created),
            record.keys.len().to_string(),
            if record.pinned { "yes" } else { "no" }.to_owned(),
        ]);
    }
    Ok(table::columns(&rows))
}

fn when(time: SystemTime) -> String {
    let time: chrono::DateTime<chrono::Utc> = time.into();
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn usage(context: &Context, machines: &Machines, config: &Config, json: bool) -> Result<String> {
    let usage = super::runtime()?.block_on(machines.vm().usage())?;
    let sources = sources(context, config).usage();
    if json {
        let line = serde_json::json!({
            "snapshots": usage.snapshots,
            "bytes": usage.bytes,
            "budget": config.cache.max_bytes,
            "source_bytes": sources,
        });
        return Ok(format!("{line}\n"));
    }
    Ok(format!(
        "{} of {} in {} snapshots\n{} in frozen sources\n",
        table::size(usage.bytes),
        table::size(config.cache.max_bytes),
        usage.snapshots,
        table::size(sources)
    ))
}

fn told(collected: &Collected) -> String {
    if collected.elsewhere {
        return "another hm is cleaning\n".to_owned();
    }
    format!(
        "removed {} snapshots, {} freed\n",
        collected.removed,
        table::size(collected.freed)
    )
}
