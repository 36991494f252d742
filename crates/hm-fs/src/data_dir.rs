//! The layout of a data directory, and who may look into it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::files::remove_any;

/// Directories below a data directory. `*` stands for any name.
const DIRECTORIES: &[&str] = &[
    "agents",
    "artifacts",
    "artifacts/files",
    "artifacts/files/*",
    "artifacts/runs",
    "artifacts/snapshots",
    "artifacts/snapshots/*",
    "artifacts/tmp",
    "docker",
    "docker/caches",
    "docker/images",
    "docker/locks",
    "docker/manifests",
    "docker/owners",
    "docker/seen",
    "docker/snapshots",
    "docker/sourced",
    "docker/tmp",
    "oci",
    "oci/blobs",
    "oci/images",
    "oci/l",
    "oci/layers",
    "oci/refs",
    "oci/trash",
    "plans",
    "registry",
    "registry/*",
    "registry/*/evicting",
    "registry/*/keys",
    "registry/*/leases",
    "registry/*/slots",
    "registry/*/snapshots",
    "registry/*/tmp",
    "runs",
    "sandbox",
    "sandbox/caches",
    "sandbox/caches/*",
    "sandbox/caches/*/g",
    "sandbox/empty",
    "sandbox/frames",
    "sandbox/images",
    "sandbox/images/seen",
    "sandbox/layers",
    "sandbox/live",
    "sandbox/snapshots",
    "sandbox/stage",
    "sandbox/trash",
    "server",
    "sources",
    "sources/locks",
    "sources/trees",
    "sources/trees/*",
    "sources/trees/*/bases",
    "sources/trees/*/deltas",
    "sources/trees/*/frozen",
    "sources/trees/*/tmp",
];

/// Closes what lies in a data directory to everybody else: an earlier hm, or another program, may have made it open. The
/// directory itself may hold other things too: it only stops being writable by others.
///
/// # Errors
/// When its entries cannot be listed. One that belongs to somebody else stays as it is.
pub fn close_to_others(data_dir: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let Ok(metadata) = fs::metadata(data_dir) else {
        return Ok(());
    };
    let mode = metadata.mode() & 0o7777;
    let is_shared = mode & 0o1000 != 0;
    if metadata.uid() == own && mode & 0o022 != 0 && !is_shared {
        fs::set_permissions(data_dir, Permissions::from_mode(mode & !0o022))?;
    }
    for directory in DIRECTORIES.iter().filter(|directory| !directory.contains('/')) {
        close(&data_dir.join(directory), own, 0o700);
    }
    Ok(())
}

/// Takes everybody else's rights to a file or directory away, where it is this user's own.
fn close(path: &Path, own: u32, most: u32) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == own && mode & !most != 0 && !metadata.file_type().is_symlink() {
        // One that cannot be closed is as open as it was.
        let _ = fs::set_permissions(path, Permissions::from_mode(mode & most | 0o700 & most));
    }
}

/// As [`close_to_others`], for these entries of a directory that holds nothing of others.
pub fn close_entries(directory: &Path, names: &[&str]) {
    let own = rustix::process::geteuid().as_raw();
    for name in names {
        let path = directory.join(name);
        let is_dir = path.is_dir();
        close(&path, own, if is_dir { 0o700 } else { 0o600 });
    }
}

/// Removes what lies where a data directory has a directory and is none: a file, a dangling link, a pipe. Returns how many it
/// removed.
///
/// # Errors
/// When one cannot be removed.
pub fn mend_directories(data_dir: &Path) -> io::Result<u64> {
    let mut removed = 0;
    for pattern in DIRECTORIES {
        let mut paths = vec![data_dir.to_owned()];
        for part in pattern.split('/') {
            if part == "*" {
                let entries = paths.iter().filter_map(|path| fs::read_dir(path).ok());
                paths = entries.flatten().flatten().map(|entry| entry.path()).collect();
            } else {
                paths.iter_mut().for_each(|path| path.push(part));
            }
        }
        for path in paths {
            if fs::symlink_metadata(&path).is_ok() && !path.is_dir() {
                remove_any(&path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_directory_is_closed_to_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        for directory in ["", "registry/sandbox", "sources", "other"] {
            fs::create_dir_all(data.join(directory)).expect("a directory");
            let open = Permissions::from_mode(0o777);
            fs::set_permissions(data.join(directory), open).expect("permissions");
        }
        close_to_others(&data).expect("it is closed");
        let mode = |path: &str| fs::metadata(data.join(path)).expect("metadata").mode() & 0o777;
        assert_eq!(
            ["", "registry", "sources", "other"].map(mode),
            [0o755, 0o700, 0o700, 0o777]
        );
    }

    #[test]
    fn file_in_place_of_directory_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("registry/sandbox")).expect("a directory");
        fs::write(path("registry/sandbox/keys"), "").expect("a file");
        fs::write(path("registry/sandbox/gc.lock"), "").expect("a file");
        std::os::unix::fs::symlink("/no/such/place", path("sources")).expect("a link");
        fs::create_dir_all(path("elsewhere")).expect("a directory");
        std::os::unix::fs::symlink("elsewhere", path("artifacts")).expect("a link");
        assert_eq!(mend_directories(dir.path()).expect("it is mended"), 2);
        assert!(!path("registry/sandbox/keys").exists() && path("sources").symlink_metadata().is_err());
        assert!(path("registry/sandbox/gc.lock").exists() && path("artifacts").is_dir());
        assert_eq!(mend_directories(dir.path()).expect("nothing to mend"), 0);
    }
}
