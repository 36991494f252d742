//! Small files, written whole or not at all, and locks.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use hm_fs as shared;
use hm_vm::{Result, VmError};

/// Makes a directory that nobody else may enter: setuid programs of images lie below it.
pub(super) fn private_directory(path: &Path) -> Result<()> {
    shared::create_private(path).map_err(VmError::io("cannot create", path))?;
    let metadata = std::fs::metadata(path).map_err(VmError::io("cannot read", path))?;
    if metadata.permissions().mode() & 0o777 != 0o700 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .map_err(VmError::io("cannot set the permissions of", path))?;
    }
    Ok(())
}

fn with_directory<T>(path: &Path, open: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            shared::create_private(path.parent().unwrap_or(path))?;
            open()
        }
        opened => opened,
    }
}

/// A file to be locked.
pub(super) fn open_lock(path: &Path) -> Result<File> {
    shared::open_lock(path).map_err(VmError::io("cannot open", path))
}

pub(super) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| VmError::Other(format!("cannot write: {error}")))?;
    let temporary = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
    let bytes = shared::seal(&bytes);
    let written = with_directory(path, || std::fs::write(&temporary, &bytes))
        .and_then(|()| shared::rename_over(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(VmError::io("cannot write", path))
}

/// What a file holds. One that is not there, or that was damaged or cut short, holds nothing.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let content = shared::read_sealed(path).map_err(VmError::io("cannot read", path))?;
    Ok(content.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The names of a directory's files; none of one that is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()),
        Err(error) if shared::is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(VmError::io("cannot list", directory)(error)),
    }
}

/// Removes a file; one that is gone is no error.
pub(super) fn remove(path: &Path) -> Result<()> {
    shared::remove_any(path).map_err(VmError::io("cannot remove", path))
}
