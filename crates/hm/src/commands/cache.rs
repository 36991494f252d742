//! `hm cache`: the snapshots on disk, and what else takes up space there.

use hm_exec::local::ArtifactStore;
use hm_snapshots::{Budget, Collected, Registry, SnapshotOrigin};
use hm_vm::{CacheDirectory, VmBackend, VmError};

use super::table;
use crate::backend::{Machines, sources};
use crate::cli::{CacheArgs, CacheCommand};
use crate::config::Config;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Looks at the snapshots, or removes some.
///
/// # Errors
/// When the store cannot be used, or the output cannot be written.
pub fn cache(mut context: Context, args: &CacheArgs) -> Result<u8> {
    context.take_backend_flag(&args.backend);
    let config = context.config()?;
    let machines = Machines::new(&context, &config)?;
    let registry = machines.registry(&config)?;
    let vm = machines.vm();
    let runtime = super::runtime()?;
    let text = runtime.block_on(async {
        match &args.command {
            CacheCommand::Ls { json } => list(&registry, vm.as_ref(), *json).await,
            CacheCommand::Du { json } => usage(&context, vm.as_ref(), &config, *json).await,
            CacheCommand::Prune { budget, images } => {
                // Who names a budget means it, even below the floor.
                let budget = budget.map_or(config.cache, |max_bytes| Budget {
                    max_bytes,
                    floor_bytes: 0,
                    ..config.cache
                });
                let collected = registry.collect(vm.as_ref(), &budget).await?;
                let images = images.unwrap_or(config.image_budget);
                Ok(told(&collected)
                    + &collect_images(vm.as_ref(), images).await?
                    + &sweep_artifacts(&config)?)
            }
            CacheCommand::Clean { images } => {
                let collected = registry.clean(vm.as_ref()).await?;
                vm.forget_sources().await?;
                vm.reclaim().await?;
                // One that a living run or an unfinished shell lies on stays.
                sources(&context, &config)
                    .remove_unused()
                    .map_err(VmError::from)?;
                let damaged = context.runs()?.remove_damaged()?;
                let mut text = told(&collected) + &sweep_artifacts(&config)?;
                if damaged > 0 {
                    text += &format!("removed {damaged} damaged records of runs\n");
                }
                if *images {
                    text += &collect_images(vm.as_ref(), 0).await?;
                }
                Ok(text)
            }
        }
    })?;
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

/// Says what of the images went, where any did.
async fn collect_images(vm: &dyn VmBackend, budget: u64) -> Result<String> {
    let Some(images) = vm.images() else {
        return Ok(String::new());
    };
    Ok(match images.collect(budget).await? {
        0 => String::new(),
        freed => format!("removed images, {} freed\n", table::size(freed)),
    })
}

/// Says what of the artifacts went that neither a recorded run nor a snapshot has, where any did.
fn sweep_artifacts(config: &Config) -> Result<String> {
    let swept = crate::artifacts::sweep(&config.data_dir)?;
    Ok(match swept.removed {
        0 => String::new(),
        removed => format!(
            "removed {removed} artifacts, {} freed\n",
            table::size(swept.freed)
        ),
    })
}

async fn list(registry: &Registry, vm: &dyn VmBackend, json: bool) -> Result<String> {
    let mut records = registry.list()?;
    records.sort_by_key(|record| std::cmp::Reverse(record.last_used));
    let mut sizes = Vec::new();
    for record in &records {
        // One that goes away meanwhile takes up nothing.
        sizes.push(vm.reclaimable(&record.id).await.unwrap_or(0));
    }
    if json {
        let lines = records.iter().zip(&sizes).map(|(record, bytes)| {
            let line = serde_json::json!({
                "id": record.id,
                "repository": record.origin.as_ref().map(|origin| &origin.repository),
                "pipeline": record.origin.as_ref().map(|origin| &origin.pipeline),
                "step": record.origin.as_ref().map(|origin| &origin.step),
                "bytes": bytes,
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
        [
            "STEP",
            "PIPELINE",
            "SIZE",
            "LAST USED",
            "CREATED",
            "KEPT FOR",
            "REPOSITORY",
            "SNAPSHOT",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (record, bytes) in records.iter().zip(sizes) {
        let of = |part: fn(&SnapshotOrigin) -> &String| {
            record
                .origin
                .as_ref()
                .map_or("?", |origin| part(origin).as_str())
                .to_owned()
        };
        let why = match record {
            record if record.pinned => "a run or shell",
            record if record.lost => "nothing: lost",
            record if record.keys.is_empty() => "hm shell, hm rerun",
            _ => "cache hits",
        };
        rows.push(vec![
            of(|origin| &origin.step),
            of(|origin| &origin.pipeline),
            table::size(bytes),
            table::when(record.last_used),
            table::when(record.created),
            why.to_owned(),
            of(|origin| &origin.repository),
            record.id.to_string(),
        ]);
    }
    Ok(table::columns(&rows))
}

async fn usage(context: &Context, vm: &dyn VmBackend, config: &Config, json: bool) -> Result<String> {
    let usage = vm.usage().await?;
    let mut directories = vm.cache_directories().await?;
    directories.sort_by_key(|directory| std::cmp::Reverse(directory.bytes));
    let in_directories: u64 = directories.iter().map(|directory| directory.bytes).sum();
    let images = match vm.images() {
        Some(images) => images.usage().await?,
        None => 0,
    };
    let sources = sources(context, config).usage();
    let artifacts = ArtifactStore::new(&config.data_dir).usage();
    if json {
        let line = serde_json::json!({
            "snapshots": usage.snapshots,
            "bytes": usage.bytes,
            "cache_directories": directories.iter().map(directory_json).collect::<Vec<_>>(),
            "cache_directory_bytes": in_directories,
            "budget": config.cache.max_bytes,
            "source_bytes": sources,
            "artifact_bytes": artifacts,
            "image_bytes": images,
            "image_budget": config.image_budget,
        });
        return Ok(format!("{line}\n"));
    }
    let named: String = directories
        .iter()
        .map(|directory| format!("  {} in {}\n", table::size(directory.bytes), directory.name))
        .collect();
    Ok(format!(
        "{} of {} in {} snapshots and {} cache directories\n{named}{} of {} in images\n{} in frozen sources\n{} in artifacts\n",
        table::size(usage.bytes.saturating_add(in_directories)),
        table::size(config.cache.max_bytes),
        usage.snapshots,
        directories.len(),
        table::size(images),
        table::size(config.image_budget),
        table::size(sources),
        table::size(artifacts)
    ))
}

fn directory_json(directory: &CacheDirectory) -> serde_json::Value {
    serde_json::json!({
        "name": directory.name,
        "bytes": directory.bytes,
        "last_used": chrono::DateTime::<chrono::Utc>::from(directory.used),
    })
}

fn told(collected: &Collected) -> String {
    if collected.elsewhere {
        return "another hm is cleaning\n".to_owned();
    }
    let directories = match collected.directories {
        0 => String::new(),
        removed => format!(" and {removed} cache directories"),
    };
    format!(
        "removed {} snapshots{directories}, {} freed\n",
        collected.removed,
        table::size(collected.freed)
    )
}
