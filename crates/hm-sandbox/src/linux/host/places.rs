//! Places of the host's root that more than one part of this knows.

use std::path::{Path, PathBuf};

/// Directories of the root that are shown.
pub(super) const SHOWN: &[&str] = &[
    "usr", "etc", "opt", "nix", "gnu", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
];

/// The package database of Debian.
pub(super) const DPKG: &str = "/var/lib/dpkg";

/// Where a path leads, or the path itself when it leads nowhere yet.
pub(super) fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
