//! Copying files out of a machine of the in-memory double.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::machine::MemoryVm;
use crate::patterns::{Budget, Patterns};
use crate::{Export, Exported, Result, VmError};

pub(super) fn export(vm: &MemoryVm, what: &Export, into: &Path) -> Result<Exported> {
    let patterns = Patterns::compile(&what.patterns)?;
    let mut budget = Budget::new(what);
    let mut paths: BTreeSet<PathBuf> = vm.written().files.keys().cloned().collect();
    if let Some(source) = vm.source() {
        paths.extend(source.entries().map(|(path, _)| path.to_path_buf()));
    }
    for path in paths
        .into_iter()
        .filter(|path| path.is_relative() && patterns.take(path))
    {
        let Some(content) = vm.read_own(&path) else {
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
