//! How a build runs, as its submitter asked for it. The agent's backend knows what is too much.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use harmont_client::models::{BuildOptions, StepNetwork};
use hm_exec::{Resume, RunOptions};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::{ImageMap, ImageReference, Limits, Network};
use serde_json::Value;

/// The options of a lease, over a source that is unpacked in `tree`. The words of an error are for the build's log.
pub(super) fn run_options(asked: &Value, tree: &Path) -> Result<RunOptions, String> {
    let asked: BuildOptions = match asked {
        Value::Null => BuildOptions::default(),
        asked => serde_json::from_value(asked.clone()).map_err(|error| {
            format!("this agent does not know how to run the build ({error}): update the agent")
        })?,
    };
    let usual = RunOptions::default();
    let mut images = ImageMap::default();
    for (name, target) in asked.images {
        let target = ImageReference::new(target);
        if target.is_path() {
            return Err(format!(
                "image {target} of the build's options is a path: it would be one of this agent's own"
            ));
        }
        images.insert(ImageReference::new(name), target);
    }
    let done: BTreeMap<_, _> = asked
        .done
        .into_iter()
        .map(|(key, snapshot)| (key, SnapshotRef(snapshot)))
        .collect();
    let limits = asked.limits;
    Ok(RunOptions {
        no_cache: asked.no_cache,
        timeout: asked.timeout_ms.map(|most| Duration::from_millis(most.get())),
        keep_going: asked.keep_going,
        parallelism: asked
            .parallelism
            .map(|steps| NonZeroUsize::try_from(steps).unwrap_or(NonZeroUsize::MAX)),
        only: asked.only,
        from: asked.from,
        images,
        include_git: tree.join(".git").exists(),
        limits: Limits {
            memory: limits.memory,
            cpus: limits.milli_cpus.map(|thousandths| cores(thousandths.get())),
            pids: limits.pids,
            disk: limits.disk,
        },
        network: match asked.network {
            Some(StepNetwork::None) => Network::None,
            Some(StepNetwork::Outbound) | None => Network::Outbound,
        },
        artifact_bytes: asked.artifact_bytes.unwrap_or(usual.artifact_bytes),
        resume: (!done.is_empty()).then_some(Resume { done }),
        watch: usual.watch,
    })
}

#[expect(clippy::cast_precision_loss, reason = "no machine has so many cores")]
fn cores(thousandths: u64) -> f64 {
    thousandths as f64 / 1000.0
}
