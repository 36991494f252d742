//! Where the content of what is listed lies.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A root, and what is listed below it while it lies elsewhere.
#[derive(Debug, Default)]
pub(super) struct Origins {
    root: PathBuf,
    elsewhere: HashMap<Vec<u8>, PathBuf>,
}

impl Origins {
    /// Everything lies below `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            elsewhere: HashMap::new(),
        }
    }

    /// Says where a path, and everything below it of which nothing else is said, lies.
    pub fn put(&mut self, path: &[u8], origin: PathBuf) {
        self.elsewhere.insert(path.to_vec(), origin);
    }

    /// Where a path lies.
    pub fn of(&self, path: &[u8]) -> PathBuf {
        let mut end = if self.elsewhere.is_empty() { 0 } else { path.len() };
        while end > 0 {
            let above = path.get(..end).unwrap_or_default();
            if let Some(origin) = self.elsewhere.get(above) {
                return match path.get(end + 1..) {
                    Some(rest) => origin.join(OsStr::from_bytes(rest)),
                    None => origin.clone(),
                };
            }
            end = above.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        }
        self.root.join(OsStr::from_bytes(path))
    }
}
