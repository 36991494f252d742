//! Where Python is.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every `python3` on `path`, in the order to try them in. Version managers put a shell script in front of
/// Python that takes several times as long to start; such shims come last.
///
/// A pipeline file is run by the first that is new enough.
#[must_use]
pub fn candidates(path: Option<&str>) -> Vec<PathBuf> {
    let all = env::split_paths(path.unwrap_or_default())
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("python3"))
        .filter(|file| is_executable(file));
    let (shims, real): (Vec<_>, Vec<_>) = all.partition(|file| is_shim(file));
    real.into_iter().chain(shims).collect()
}

fn is_shim(file: &Path) -> bool {
    file.parent().and_then(Path::file_name) == Some(OsStr::new("shims"))
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
