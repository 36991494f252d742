//! Whether the host is the one that a snapshot was made on.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sandbox::SandboxConfig;

/// What the package manager, or whoever installs beside it, changes with every change of the host's content.
const FIXED: &[&str] = &[
    "/var/lib/dpkg/status",
    "/var/lib/rpm",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
    "/etc/alternatives",
    "/usr/local/bin",
    "/usr/local/lib",
];

/// Identifies the host's content as far as a build can tell: the distribution, its package database, and the
/// toolchains on `PATH`.
pub(in crate::sandbox) fn digest(config: &SandboxConfig) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(std::env::consts::ARCH.as_bytes());
    hasher.update(&std::fs::read("/etc/os-release").unwrap_or_default());
    let fixed = FIXED.iter().map(PathBuf::from).chain(rustup(config));
    let (of_packages, others): (Vec<_>, Vec<_>) = config
        .path
        .split(':')
        .map(PathBuf::from)
        .partition(|path| path.starts_with("/usr") || !path.is_absolute());
    for path in fixed.chain(of_packages) {
        if let Ok(metadata) = std::fs::metadata(&path) {
            hasher.update(path.as_os_str().as_bytes());
            for number in [
                metadata.mtime(),
                metadata.mtime_nsec(),
                i64::try_from(metadata.size()).unwrap_or(0),
            ] {
                hasher.update(&number.to_le_bytes());
            }
        }
    }
    for path in others {
        list(&path, &mut hasher);
    }
    format!("host:{}", &hasher.finalize().to_hex()[..32])
}

/// What is in a directory. Not when it was changed: programs put temporary files beside their own, and remove
/// them again.
fn list(directory: &Path, hasher: &mut blake3::Hasher) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries.map(|entry| (entry.file_name(), entry.ino())).collect();
    if entries.is_empty() {
        return;
    }
    entries.sort();
    hasher.update(directory.as_os_str().as_bytes());
    for (name, inode) in entries {
        hasher.update(name.as_bytes()).update(&inode.to_le_bytes());
    }
}

/// What rustup writes when a toolchain comes, goes, or is updated in its place.
fn rustup(config: &SandboxConfig) -> Vec<PathBuf> {
    let named = config.host_env.get("RUSTUP_HOME").map(PathBuf::from);
    let Some(rustup) = named.or_else(|| Some(config.home.as_ref()?.join(".rustup"))) else {
        return Vec::new();
    };
    let toolchains = rustup.join("toolchains");
    let mut entries: Vec<_> = std::fs::read_dir(&toolchains)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("lib/rustlib"))
        .collect();
    entries.sort();
    entries.extend([rustup.join("settings.toml"), toolchains]);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_toolchain_is_another_host_and_a_passing_file_is_not() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join(".local/bin");
        let rustlib = home.path().join(".rustup/toolchains/stable/lib/rustlib");
        for directory in [&bin, &rustlib] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let tool = |text: &str| {
            std::fs::write(bin.join(".new"), text).unwrap();
            std::fs::rename(bin.join(".new"), bin.join("tool")).unwrap();
        };
        // A clock that is too coarse would not tell the write below.
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        std::fs::File::open(&rustlib)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        tool("one");
        let mut config = SandboxConfig::new(home.path().join("data"), format!("{}:/usr/bin", bin.display()));
        config.home = Some(home.path().to_owned());
        let first = digest(&config);
        std::fs::write(bin.join("lock"), "").unwrap();
        std::fs::remove_file(bin.join("lock")).unwrap();
        assert_eq!(digest(&config), first);
        // Another file of the same name; the old one's inode is still taken.
        let _old = std::fs::File::open(bin.join("tool")).unwrap();
        tool("two");
        let second = digest(&config);
        assert_ne!(second, first);
        std::fs::write(rustlib.join("manifest-rustc"), "newer").unwrap();
        assert_ne!(digest(&config), second);
    }
}
