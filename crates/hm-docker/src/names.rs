//! Names that no image can hold: an image marks what was removed from the one below by names that begin with `.wh.`. A
//! file of such a name would be lost in a snapshot, and the one that it seems to mark with it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::container::Container;
use super::shared::Shared;
use hm_vm::{Result, VmError};

/// What marks a removal.
pub(super) const MARK: &[u8] = b".wh.";

/// Refuses to keep what a container wrote where a name of it would be lost. What an engine elsewhere, or one of another
/// user, has on its disk cannot be seen from here.
pub(super) async fn refuse_marks(shared: &Shared, container: &Container) -> Result<()> {
    let Some(upper) = container.upper(shared).await? else {
        return Ok(());
    };
    let found = tokio::task::spawn_blocking(move || {
        let mut path = PathBuf::new();
        find(&upper, &mut path).then_some(path)
    });
    match found.await {
        Ok(Some(path)) => Err(VmError::Other(format!(
            "the step left /{}, and no image can hold a name that begins with `.wh.`: remove it before the step ends, or run \
             with the sandbox",
            path.display()
        ))),
        Ok(None) => Ok(()),
        Err(error) => Err(VmError::Other(format!(
            "a task of the docker backend failed: {error}"
        ))),
    }
}

/// Looks for such a name below a directory; what cannot be read is passed over.
fn find(root: &Path, below: &mut PathBuf) -> bool {
    let Ok(entries) = std::fs::read_dir(root.join(&below)) else {
        return false;
    };
    for entry in entries.flatten() {
        below.push(entry.file_name());
        let is_mark = |name: &OsStr| name.as_bytes().starts_with(MARK);
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_mark(&entry.file_name()) || (is_directory && find(root, below)) {
            return true;
        }
        below.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_in_a_directory_is_found_by_its_path() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("a/wh.x"), "").unwrap();
        let mut path = PathBuf::new();
        assert!(!find(root.path(), &mut path));
        assert_eq!(path, Path::new(""));
        std::fs::write(root.path().join("a/b/.wh.x"), "").unwrap();
        assert!(find(root.path(), &mut path));
        assert_eq!(path, Path::new("a/b/.wh.x"));
    }
}
