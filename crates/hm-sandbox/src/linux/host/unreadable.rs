//! What of the directories that are shown not everybody may read: tokens of runners, credentials beside programs. Root's
//! steps could read them, and do not see them.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::private::is_unreadable;
use super::scan::mark_of;
use crate::surface::SandboxConfig;

/// How deep /usr is looked at: deeper lies what packages brought.
const PACKAGES: usize = 4;

/// Where nobody but the administrator installs.
const BY_HAND: &[&str] = &["/usr/local", "/opt"];

/// How deep toolchains of a home are looked at.
const TOOLCHAINS: usize = 2;

/// More directories than anybody installs by hand.
const MOST: usize = 20_000;

/// What was found in a directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    /// What the kernel said of the directory.
    seen: u64,
    unreadable: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

type State = BTreeMap<PathBuf, Found>;

/// The files and directories below these that not everybody may read. Directories that did not change since the last
/// look are not read again.
pub(super) fn unreadable(config: &SandboxConfig, shown: &[PathBuf]) -> Vec<PathBuf> {
    let file = config.data_dir.join("sandbox/states/unreadable");
    let before: State = std::fs::read(&file)
        .ok()
        .and_then(|bytes| postcard::from_bytes(&bytes).ok())
        .unwrap_or_default();
    let mut now = State::new();
    let mut waiting: Vec<(PathBuf, usize)> = Vec::new();
    for top in shown
        .iter()
        .filter(|top| !top.starts_with("/etc") && !top.starts_with("/var"))
    {
        let depth = if top.starts_with("/usr") {
            PACKAGES
        } else {
            TOOLCHAINS
        };
        // A toolchain that only its owner may read is there for its owner's steps.
        if std::fs::metadata(top).is_ok_and(|metadata| !is_unreadable(&metadata)) {
            waiting.push((top.clone(), depth));
        }
    }
    let mut changed = false;
    while let Some((directory, depth)) = waiting.pop() {
        let Ok(metadata) = std::fs::metadata(&directory) else {
            continue;
        };
        let by_hand = BY_HAND.iter().any(|top| directory.starts_with(top));
        let seen = mark_of(&metadata);
        // A file that was there may have been closed to others since, which its directory does not tell.
        let known = before
            .get(&directory)
            .filter(|known| known.seen == seen && !by_hand);
        let found = known.cloned().unwrap_or_else(|| {
            changed = true;
            look(&directory, seen, metadata.dev())
        });
        if (by_hand || depth > 0) && now.len() < MOST {
            let below = found.directories.iter().map(|name| directory.join(name));
            waiting.extend(below.map(|below| (below, depth.saturating_sub(1))));
        }
        now.insert(directory, found);
    }
    if changed && let Ok(bytes) = postcard::to_stdvec(&now) {
        // Without it the next look takes longer.
        let _ = std::fs::create_dir_all(file.parent().unwrap_or(&file))
            .and_then(|()| std::fs::write(&file, bytes));
    }
    let all = now.into_iter().flat_map(|(directory, found)| {
        let names = found.unreadable.into_iter();
        names.map(move |name| directory.join(name)).collect::<Vec<_>>()
    });
    all.collect()
}

fn look(directory: &Path, seen: u64, device: u64) -> Found {
    let mut found = Found {
        seen,
        unreadable: Vec::new(),
        directories: Vec::new(),
    };
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let name = PathBuf::from(entry.file_name());
        if is_closed(&metadata) {
            found.unreadable.push(name);
        } else if metadata.is_dir() && metadata.dev() == device && name.to_str().is_some() {
            found.directories.push(name);
        }
    }
    found
}

/// Whether others may neither read nor run it: programs such as sudo may be run, and not read.
fn is_closed(metadata: &Metadata) -> bool {
    is_unreadable(metadata) && (metadata.is_dir() || metadata.mode() & 0o001 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn unreadable_files_and_directories_are_found_again() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        std::fs::create_dir_all(bin.join("closed")).unwrap();
        for (name, mode) in [("tool", 0o755), (".credentials", 0o600), ("group", 0o640)] {
            std::fs::write(bin.join(name), name).unwrap();
            std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        for (path, mode) in [(&bin, 0o755), (&bin.join("closed"), 0o700)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let config = SandboxConfig::new(home.path().join("data"), "/usr/bin");
        let expected = [".credentials", "closed", "group"].map(|name| bin.join(name));
        for _ in 0..2 {
            let mut found = unreadable(&config, std::slice::from_ref(&bin));
            found.sort();
            assert_eq!(found, expected);
        }
    }
}
