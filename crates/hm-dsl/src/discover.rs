//! Which files hold a repository's pipelines.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::DslError;

/// What a repository has by way of pipelines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// `.hm/*.py`, sorted.
    pub files: Vec<PathBuf>,
    /// There is a `.harmont/` directory, which hm does not read.
    pub other_tool: bool,
}

/// Looks for pipeline files in the repository at `root`. Files whose name begins with `_` or `.` are left to
/// be imported by the others.
///
/// # Errors
/// `.hm` cannot be listed.
pub fn look(root: &Path) -> Result<Found, DslError> {
    let dir = root.join(".hm");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found {
                files: Vec::new(),
                other_tool: root.join(".harmont").is_dir(),
            });
        }
        Err(e) => return Err(DslError::io("list", &dir)(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(DslError::io("list", &dir))?.path();
        if is_pipeline_file(&path) {
            files.push(path);
        }
    }
    files.sort();
    let other_tool = files.is_empty() && root.join(".harmont").is_dir();
    Ok(Found { files, other_tool })
}

/// The pipeline files of the repository at `root`, sorted; see [`look`].
///
/// # Errors
/// `.hm` cannot be listed.
pub fn discover(root: &Path) -> Result<Vec<PathBuf>, DslError> {
    look(root).map(|found| found.files)
}

fn is_pipeline_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .map(OsStr::as_encoded_bytes)
        .is_none_or(|n| n.starts_with(b".") || n.starts_with(b"_"));
    !hidden && path.extension() == Some(OsStr::new("py")) && path.is_file()
}
