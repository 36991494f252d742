//! Listing one directory of a part.

use std::path::Path;

use super::Listed;
use super::overlay::{Hiding, hiding};
use hm_vm::{Result, VmError};

pub(super) fn list(directory: &Path) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let cannot = |source| VmError::io("cannot list", directory)(source);
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let is_directory = entry.file_type().map_err(cannot)?.is_dir();
        let is_opaque = is_directory
            && hiding(&entry.path()).map_err(VmError::io("cannot read", entry.path()))? == Hiding::All;
        listed.push(Listed {
            name: entry.file_name().into(),
            is_directory,
            is_opaque,
        });
    }
    Ok(listed)
}
