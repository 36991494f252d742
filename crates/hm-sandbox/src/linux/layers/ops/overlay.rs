//! How overlayfs marks what a layer hides.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hm_fs::Marks;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

/// Where a renamed directory was, as the overlay's root or its own parent sees it.
const REDIRECT: &str = "trusted.overlay.redirect";

/// What a directory hides of the layers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hiding {
    /// Nothing by itself.
    Nothing,
    /// Nothing by itself, but files in it may be whiteouts by their attribute.
    MarkedFiles,
    /// Everything.
    All,
}

/// What a directory hides.
pub(super) fn hiding(directory: &Path) -> io::Result<Hiding> {
    let mut value = [0u8; 8];
    match lgetxattr(directory, Marks::of_process().opaque(), &mut value) {
        Ok(1) if value[0] == b'y' => Ok(Hiding::All),
        Ok(1) if value[0] == b'x' => Ok(Hiding::MarkedFiles),
        // Any other value means nothing to overlayfs either.
        Ok(_) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP | rustix::io::Errno::RANGE) => {
            Ok(Hiding::Nothing)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Marks a directory.
pub(super) fn set_hiding(directory: &Path, hiding: Hiding) -> io::Result<()> {
    let value: &[u8] = match hiding {
        Hiding::Nothing => return Ok(()),
        Hiding::MarkedFiles => b"x",
        Hiding::All => b"y",
    };
    Ok(lsetxattr(
        directory,
        Marks::of_process().opaque(),
        value,
        XattrFlags::empty(),
    )?)
}

/// Has overlayfs look for whiteouts in a directory although nothing below may merge with it, by saying that it was
/// copied up from something unknown: otherwise it lists them as files.
pub(super) fn set_may_hold_whiteouts(directory: &Path) -> io::Result<()> {
    Ok(lsetxattr(
        directory,
        Marks::of_process().origin(),
        b"",
        XattrFlags::empty(),
    )?)
}

/// Whether a file is a whiteout by being the character device 0:0.
pub(super) fn is_device_whiteout(metadata: &std::fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether a file is a whiteout by its attribute; it counts only in a directory that says so.
pub(super) fn is_marked_whiteout(path: &Path, metadata: &std::fs::Metadata) -> bool {
    metadata.file_type().is_file()
        && metadata.len() == 0
        && lgetxattr(path, Marks::of_process().whiteout(), &mut [0u8; 8]).is_ok()
}

/// Where a directory of an upper layer was renamed from: absolute in the overlay, or a name in its own parent.
pub(super) fn redirect(directory: &Path) -> io::Result<Option<PathBuf>> {
    // No path is longer.
    let mut value = vec![0u8; 4096];
    match lgetxattr(directory, REDIRECT, &mut value) {
        Ok(length) => Ok(Some(PathBuf::from(OsStr::from_bytes(&value[..length])))),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
