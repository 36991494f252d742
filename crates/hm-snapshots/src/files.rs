//! File operations that leave either the old file or the new one, never a piece.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hm_fs as shared;
use hm_vm::{Result, VmError};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name that no other file of this process, and none of another living process, has.
pub(super) fn unique_name() -> String {
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a file by way of `tmp/`, creating the directories when they are missing.
pub(super) fn put(root: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let written = match try_put(root, path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir(&root.join("tmp"))?;
            if let Some(parent) = path.parent() {
                create_dir(parent)?;
            }
            try_put(root, path, bytes)
        }
        written => written,
    };
    written.map_err(VmError::io("cannot write", path))
}

fn try_put(root: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = root.join("tmp").join(unique_name());
    // A process with this id may have died here before.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| shared::rename_over(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

pub(super) fn create_dir(path: &Path) -> Result<()> {
    shared::create_private(path).map_err(VmError::io("cannot create", path))
}

/// The content of a file, or nothing when no file is there.
pub(super) fn get(path: &Path) -> Result<Option<Vec<u8>>> {
    shared::read(path).map_err(VmError::io("cannot read", path))
}

/// The content of a sealed file, or nothing when there is none that is whole.
pub(super) fn get_sealed(path: &Path) -> Result<Option<Vec<u8>>> {
    shared::read_sealed(path).map_err(VmError::io("cannot read", path))
}

/// Removes a file that may be gone already, or what lies in its place.
pub(super) fn remove(path: &Path) -> Result<()> {
    shared::remove_any(path).map_err(VmError::io("cannot remove", path))
}

/// The names in a directory, none when it is not there.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(VmError::io("cannot list", dir)(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(VmError::io("cannot list", dir))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a lock file, creating it and its directory when they are missing.
pub(super) fn open_lock(path: PathBuf) -> Result<File> {
    shared::open_lock(&path).map_err(VmError::io("cannot open", path))
}

pub(super) use shared::{is_absent as is_gone, open_existing};
