//! Where kept plans lie: one file per repository, renamed into place, so that a reader sees a whole one or none.

use std::fs;
use std::io::{self, BufWriter, Write};
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

/// How many hexadecimal digits of the text's digest come before it.
const DIGEST: usize = 64;

/// Reads kept plans. A file that is missing, half written, damaged or of another version is no plan.
pub(crate) fn load(place: &Path) -> Option<Entry> {
    if !fs::metadata(place).ok()?.is_file() {
        return None;
    }
    let bytes = fs::read(place).ok()?;
    let (digest, text) = bytes.split_at_checked(DIGEST)?;
    let text = text.strip_prefix(b"\n")?;
    let is_whole = blake3::hash(text).to_hex().as_bytes() == digest;
    serde_json::from_slice(text).ok().filter(|_| is_whole)
}

/// Writes plans to keep.
pub(crate) fn store(place: &Path, entry: &Entry) -> io::Result<()> {
    let dir = place.parent().unwrap_or(place);
    let file = tempfile::Builder::new().prefix(".plan-").tempfile_in(dir)?;
    let text = serde_json::to_vec(entry)?;
    let mut out = BufWriter::new(file);
    out.write_all(blake3::hash(&text).to_hex().as_bytes())?;
    out.write_all(b"\n")?;
    out.write_all(&text)?;
    let file = out.into_inner()?;
    if place.is_dir() {
        // Something that is no plan lies in its place.
        fs::remove_dir_all(place)?;
    }
    file.persist(place).map_err(|e| e.error)?;
    Ok(())
}
