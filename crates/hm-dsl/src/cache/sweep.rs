//! Takes away what nobody has written for a long time: plans of repositories that are gone, packages of older
//! versions of hm, and what a killed process left behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A plan that is older than this is made again; that costs milliseconds.
const OLD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Sweeps `dir`, but for the package at `keep`. What cannot be removed stays: only disk space hangs on it.
pub(crate) fn sweep(dir: &Path, keep: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let before = SystemTime::now() - OLD;
    for entry in entries.filter_map(Result::ok) {
        let Ok(meta) = entry.metadata() else { continue };
        let path = entry.path();
        if path == keep || !is_ours(&path) || meta.modified().is_ok_and(|time| time >= before) {
            continue;
        }
        let _ = if meta.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
    }
}

fn is_ours(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.ends_with(".json")
        || [".plan-", ".python-", "python-"]
            .iter()
            .any(|beginning| name.starts_with(beginning))
}
