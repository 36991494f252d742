//! Where kept plans lie: one file per repository, renamed into place, so that a reader sees a whole one or none.

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use super::Entry;
use crate::python;

/// The file of the plans that `files` make in the repository at `root`, by this version of our package.
pub(crate) fn place(cache_dir: &Path, root: &Path, files: &[PathBuf]) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(python::digest().as_bytes());
    for path in std::iter::once(root).chain(files.iter().map(PathBuf::as_path)) {
        hasher.update(path.as_os_str().as_encoded_bytes()).update(b"\0");
    }
    cache_dir.join(format!("{}.json", &hasher.finalize().to_hex()[..32]))
}

/// Reads kept plans. A file that is missing, half written or of another version is no plan.
pub(crate) fn load(place: &Path) -> Option<Entry> {
    serde_json::from_slice(&fs::read(place).ok()?).ok()
}

/// Writes plans to keep.
pub(crate) fn store(place: &Path, entry: &Entry) -> io::Result<()> {
    let dir = place.parent().unwrap_or(place);
    let file = tempfile::Builder::new().prefix(".plan-").tempfile_in(dir)?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer(&mut out, entry)?;
    let file = out.into_inner()?;
    file.persist(place).map_err(|e| e.error)?;
    Ok(())
}
