//! Removes the contents that neither a recorded run nor a snapshot has any more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hm_exec::BackendError;
use hm_exec::local::{ArtifactStore, Keep, Swept};
use hm_snapshots::Registry;

use crate::fail::Result;
use crate::record::RunStore;

/// How often a run's end looks for what can go: it has to read every list.
const INTERVAL: Duration = Duration::from_secs(600);

/// Removes what can go, where that was not done lately.
///
/// # Errors
/// When the store cannot be read.
pub fn sweep_now_and_then(data_dir: &Path) -> Result<()> {
    let stamp = data_dir.join("artifacts/swept");
    let last = fs::metadata(&stamp).and_then(|metadata| metadata.modified());
    let is_lately = last.is_ok_and(|last| last.elapsed().is_ok_and(|age| age < INTERVAL));
    if is_lately || !data_dir.join("artifacts").is_dir() {
        return Ok(());
    }
    if !sweep(data_dir)?.busy {
        // Without a stamp, the next run looks again.
        let _ = fs::write(stamp, "");
    }
    Ok(())
}

/// Removes what can go.
///
/// # Errors
/// When the store cannot be read.
pub fn sweep(data_dir: &Path) -> Result<Swept> {
    let runs = RunStore::new(data_dir);
    let keep = || {
        let recorded = runs
            .runs()
            .map_err(|failure| BackendError::Other(failure.report().message))?;
        Ok(Keep {
            runs: recorded.iter().filter_map(|run| run.id().parse().ok()).collect(),
            snapshots: registered(data_dir)?,
        })
    };
    Ok(ArtifactStore::new(data_dir).sweep(keep)?)
}

/// The snapshots of every backend that has run here.
fn registered(
    data_dir: &Path,
) -> Result<BTreeMap<String, std::collections::BTreeSet<hm_vm::SnapshotId>>, BackendError> {
    let mut registered = BTreeMap::new();
    for entry in fs::read_dir(data_dir.join("registry"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(backend) = entry.file_name().into_string() else {
            continue;
        };
        let records = Registry::open(&entry.path())?.list()?;
        registered.insert(backend, records.into_iter().map(|record| record.id).collect());
    }
    Ok(registered)
}
