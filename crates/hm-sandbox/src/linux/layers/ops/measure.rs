//! Measuring a tree's real blocks.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hm_vm::{Result, VmError};

/// Bytes of real blocks, files and directories, and whether some of it could not be seen. An inode counts for its share of names:
/// summed over all layers that name it, it counts once.
pub(super) fn measure(root: &Path) -> Result<(u64, u64, bool)> {
    let mut bytes = 0;
    let mut files = 0;
    let mut denied = false;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                denied = true;
                continue;
            }
            // Gone in the meantime, or deeper than a path can say.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => {
                continue;
            }
            Err(source) => return Err(VmError::io("cannot measure", directory)(source)),
        };
        for entry in entries {
            let entry = entry.map_err(VmError::io("cannot measure", &directory))?;
            files += 1;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => {
                    bytes += metadata.blocks() * 512;
                    directories.push(entry.path());
                }
                Ok(metadata) => bytes += metadata.blocks() * 512 / metadata.nlink().max(1),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => denied = true,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => {}
                Err(source) => return Err(VmError::io("cannot measure", entry.path())(source)),
            }
        }
    }
    Ok((bytes, files, denied))
}
