//! Copying files out of a machine of the in-memory double.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::patterns::{Budget, Patterns};
use crate::{Export, Exported, Result, VmError};

/// Copies those of these files that are asked for.
pub(super) fn export(
    paths: BTreeSet<PathBuf>,
    read: impl Fn(&Path) -> Option<Bytes>,
    what: &Export,
    into: &Path,
) -> Result<Exported> {
    let patterns = Patterns::compile(&what.patterns)?;
    let mut budget = Budget::new(what);
    for path in paths
        .into_iter()
        .filter(|path| path.is_relative() && patterns.take(path))
    {
        let Some(content) = read(&path) else {
            continue;
        };
        if !budget.admit(&path, content.len() as u64) {
            continue;
        }
        let copy = into.join(&path);
        if let Some(parent) = copy.parent() {
            std::fs::create_dir_all(parent).map_err(VmError::io("cannot create", parent))?;
        }
        std::fs::write(&copy, &content).map_err(VmError::io("cannot write", copy))?;
    }
    Ok(budget.finish())
}
