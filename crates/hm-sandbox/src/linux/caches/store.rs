//! The cache directories that a data directory keeps.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::generation::{Locked, current};
use crate::linux::layers::LayerStore;
use hm_vm::{CacheDirectory, Result, VmError};

/// Cheap to clone; every method may be called from many threads and processes at once.
#[derive(Debug, Clone)]
pub(in crate::linux) struct CacheStore {
    root: PathBuf,
    pub(super) layers: LayerStore,
}

impl CacheStore {
    /// The cache directories beside these layers.
    pub(in crate::linux) fn new(layers: LayerStore) -> Self {
        Self {
            root: layers.root().join("caches"),
            layers,
        }
    }

    /// The directory that a cache directory's generations lie in.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(VmError::Setup(format!(
                "`{name}` is no name of a cache directory: letters, digits, `-`, `_` and `.` are, and it must not begin \
                 with `.`"
            )));
        }
        Ok(self.root.join(name))
    }

    /// All that were ever kept something in.
    pub(in crate::linux) fn list(&self) -> Result<Vec<CacheDirectory>> {
        // What is on its way out shares its blocks with what stays.
        self.layers.flush();
        let mut listed = Vec::new();
        for (name, directory) in self.directories()? {
            let Some(id) = current(&directory) else { continue };
            let used = std::fs::metadata(directory.join("lock")).and_then(|lock| lock.modified());
            listed.push(CacheDirectory {
                name,
                bytes: self.layers.measure(&directory.join("g").join(id))?,
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// Removes one; returns the bytes of real blocks that this freed.
    pub(in crate::linux) fn remove(&self, name: &str) -> Result<u64> {
        let directory = self.directory(name)?;
        if !directory.exists() {
            return Ok(0);
        }
        self.layers.flush();
        let locked = Locked::exclusive(&directory)?;
        if locked.is_used() {
            return Err(VmError::Other(format!(
                "the cache directory {name} is in use by a command that runs; try again when it has ended"
            )));
        }
        self.layers.delete(&directory)
    }

    /// Removes what processes that were killed have left.
    pub(in crate::linux) fn reclaim(&self) -> Result<()> {
        for (_, directory) in self.directories()? {
            if has_leftovers(&directory) {
                Locked::exclusive(&directory)?.tidy(&self.layers)?;
            }
        }
        Ok(())
    }

    fn directories(&self) -> Result<Vec<(String, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if hm_fs::is_absent(&error) => return Ok(Vec::new()),
            entries => entries.map_err(VmError::io("cannot list", &self.root))?,
        };
        let named = |entry: std::fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.path()));
        Ok(entries.flatten().filter_map(named).collect())
    }
}

/// Whether there are generations beside the current one.
fn has_leftovers(directory: &Path) -> bool {
    let current = current(directory);
    let generations = std::fs::read_dir(directory.join("g"));
    let mut generations = generations.into_iter().flatten().flatten();
    generations.any(|generation| generation.file_name().to_str() != current.as_deref())
}
