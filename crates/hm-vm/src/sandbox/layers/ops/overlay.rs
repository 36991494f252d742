//! How overlayfs marks what a layer hides, when mounted with `userxattr`.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

pub(super) const OPAQUE: &str = "user.overlay.opaque";
const ORIGIN: &str = "user.overlay.origin";
const WHITEOUT: &str = "user.overlay.whiteout";

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
    match lgetxattr(directory, OPAQUE, &mut value) {
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
    Ok(lsetxattr(directory, OPAQUE, value, XattrFlags::empty())?)
}

/// Has overlayfs look for whiteouts in a directory although nothing below may merge with it, by saying that it was
/// copied up from something unknown: otherwise it lists them as files.
pub(super) fn set_may_hold_whiteouts(directory: &Path) -> io::Result<()> {
    Ok(lsetxattr(directory, ORIGIN, b"", XattrFlags::empty())?)
}

/// Whether a file is a whiteout by being the character device 0:0.
pub(super) fn is_device_whiteout(metadata: &std::fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether a file is a whiteout by its attribute; it counts only in a directory that says so.
pub(super) fn is_marked_whiteout(path: &Path, metadata: &std::fs::Metadata) -> bool {
    metadata.file_type().is_file() && metadata.len() == 0 && lgetxattr(path, WHITEOUT, &mut [0u8; 8]).is_ok()
}
