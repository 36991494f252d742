//! What of the host's root an ordinary user's step owns.
//!
//! The host's root has no id in a user's step: its directories could not be written to, and no package could be
//! installed. But an overlay's directory has the owner of its topmost layer. So between the frame and the host lies a
//! skeleton: directories that packages share, without anything in them, owned by the user, who is root inside. What
//! lies in them stays the host's; what programs write to in place (/etc, the package database) is copied into
//! the frame. So a package can be installed, but none of the host's replaced: apt is told to say so.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::places::DPKG;
use crate::linux::frame::{Frame, FramePlan};
use hm_vm::Result;

/// A larger file is not copied.
pub(super) const COPIED: u64 = 16 << 20;

/// Of /usr, down to where all distributions have the same directories.
const SAME_EVERYWHERE: usize = 2;

/// Without a database that tells which directories packages share.
const WITHOUT_DATABASE: usize = 4;

/// Where software is put without the package manager telling, and how deep the skeleton goes there: each run
/// looks at them.
const LOOKED_AT: &[(&str, usize)] = &[("/usr/local", 3), ("/opt", 1), ("/nix", 1), ("/gnu", 1)];

/// Changes with what a skeleton is made of.
const FORM: &str = "skeleton-2";

/// The rights to a directory that a step's root owns.
pub(super) fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o1777 | 0o700
}

/// Settings that have apt ask [`REFUSES_UPGRADES`] before it begins.
pub(super) const ASKS_FIRST: &str = "DPkg::Pre-Install-Pkgs {\"sh /etc/apt/hm-upgrades\";};\n";

/// Reads the paths of archives, and fails when one would replace a package of the host's.
pub(super) const REFUSES_UPGRADES: &str = include_str!("refuse-upgrades.sh");

/// Copies of what dpkg writes to in place, and the directories that it puts files in.
pub(super) fn dpkg(frame: &mut FramePlan, database: &Path) {
    let mut directories = vec![database.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if metadata.is_dir() {
                frame.directory(&path, mode(&metadata));
                // Many, and never written to in place.
                if path != database.join("info") {
                    directories.push(path);
                }
            } else if metadata.is_file() && metadata.len() == 0 {
                // A lock, which only root may open.
                frame.file(path, String::new());
            } else if metadata.is_file() && metadata.len() <= COPIED {
                frame.copy(path, &metadata);
            }
        }
    }
}

/// The host's directories, as of now.
#[derive(Debug)]
pub(in crate::linux) struct Skeleton {
    mounts: Vec<PathBuf>,
    /// Those that were looked at to see whether anything changed.
    looked_at: Vec<(PathBuf, u32)>,
    name: String,
}

impl Skeleton {
    /// Looks at as few directories as tell whether others came or went.
    pub(super) fn of(mounts: &[PathBuf]) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut see = |path: &Path, metadata: &Metadata| {
            hasher.update(path.as_os_str().as_encoded_bytes());
            for number in [metadata.mtime(), metadata.mtime_nsec(), metadata.mode().into()] {
                hasher.update(&number.to_le_bytes());
            }
        };
        let packages = [
            "/var/lib/dpkg/status",
            "/var/lib/rpm",
            "/usr",
            "/usr/lib",
            "/usr/share",
        ];
        for path in packages.map(Path::new) {
            if let Ok(metadata) = std::fs::metadata(path) {
                see(path, &metadata);
            }
        }
        let mut looked_at = Vec::new();
        for (path, depth) in LOOKED_AT {
            walk(Path::new(path), *depth, &mut |path, metadata| {
                see(path, metadata);
                looked_at.push((path.to_owned(), mode(metadata)));
            });
        }
        for mount in mounts {
            hasher.update(mount.as_os_str().as_encoded_bytes());
        }
        Self {
            mounts: mounts.to_vec(),
            looked_at,
            name: format!("{FORM}-{}", &hasher.finalize().to_hex()[..32]),
        }
    }

    /// Finds it under `frames`, or builds it there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::linux) fn build(self, frames: &Path) -> Result<Frame> {
        let name = self.name.clone();
        Frame::find_or_write(frames, &name, || self.plan())
    }

    fn plan(self) -> FramePlan {
        let mut plan = FramePlan::bare(&self.mounts);
        for (path, mode) in &self.looked_at {
            if self.mounts.iter().any(|mount| path.starts_with(mount)) {
                plan.directory(path, *mode);
            }
        }
        for (path, mode) in shared_directories() {
            let others = LOOKED_AT.iter().map(|(path, _)| *path).chain(["/etc", "/var"]);
            if !others.into_iter().any(|other| path.starts_with(other))
                && self.mounts.iter().any(|mount| path.starts_with(mount))
            {
                plan.directory(path, mode);
            }
        }
        plan
    }
}

/// The skeleton of a root filesystem directory that belongs to the host's root, with copies of what is written to
/// in place. `digest`: the image's.
///
/// # Errors
/// When it cannot be written.
pub(in crate::linux) fn foreign(frames: &Path, digest: &str, image: &Path) -> Result<Frame> {
    let name = format!("{FORM}-{}", digest.replace(':', "-"));
    Frame::find_or_write(frames, &name, || {
        let mut plan = FramePlan::bare(&[]);
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            let entries = std::fs::read_dir(image.join(&directory));
            for entry in entries.into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let inside = directory.join(entry.file_name());
                let path = Path::new("/").join(&inside);
                let in_place = ["/etc", "/var/lib/dpkg"]
                    .iter()
                    .any(|part| path.starts_with(part))
                    && !path.starts_with("/var/lib/dpkg/info");
                if metadata.is_dir() && is_readable(&metadata) {
                    plan.directory(path, mode(&metadata));
                    directories.push(inside);
                } else if metadata.is_dir() {
                    plan.opaque(path, mode(&metadata));
                } else if metadata.is_file() && metadata.len() == 0 && metadata.mode() & 0o004 == 0 {
                    // A lock, which only root may open.
                    plan.file(path, String::new());
                } else if metadata.is_file() && metadata.len() <= COPIED && in_place {
                    plan.copy_from(&entry.path(), path, &metadata);
                }
            }
        }
        plan
    })
}

/// Directories that a package which is not installed yet may put something in.
fn shared_directories() -> BTreeMap<PathBuf, u32> {
    let lists = Path::new(DPKG).join("info");
    let lists = std::fs::read_dir(lists).into_iter().flatten().flatten();
    let lists = lists.filter(|entry| entry.path().extension() == Some("list".as_ref()));
    let (mut once, mut twice) = (HashSet::new(), HashSet::new());
    for list in lists {
        let text = std::fs::read_to_string(list.path()).unwrap_or_default();
        for path in text.lines() {
            if !once.contains(path) {
                once.insert(path.to_owned());
            } else if !twice.contains(path) {
                twice.insert(path.to_owned());
            }
        }
    }
    let mut shared = BTreeMap::new();
    for path in &twice {
        let real = super::real(Path::new(path));
        if let Ok(metadata) = std::fs::symlink_metadata(&real)
            && metadata.is_dir()
            && is_readable(&metadata)
        {
            shared.insert(real, mode(&metadata));
        }
    }
    let depth = if twice.is_empty() {
        WITHOUT_DATABASE
    } else {
        SAME_EVERYWHERE
    };
    walk(Path::new("/usr"), depth, &mut |path, metadata| {
        // What lies in /usr/share/doc is of one package each.
        if !path.starts_with("/usr/share/doc/") {
            shared.insert(path.to_owned(), mode(metadata));
        }
    });
    shared
}

/// Visits a directory and those below it, parents first.
fn walk(directory: &Path, depth: usize, visit: &mut impl FnMut(&Path, &Metadata)) {
    let Ok(metadata) = std::fs::symlink_metadata(directory) else {
        return;
    };
    if !metadata.is_dir() || !is_readable(&metadata) {
        return;
    }
    visit(directory, &metadata);
    if depth > 0 {
        for (path, _) in directories(directory) {
            walk(&path, depth - 1, visit);
        }
    }
}

/// The directories in a directory. One that not everybody may read stays as it is.
fn directories(directory: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let metadata = is_directory.then(|| entry.metadata().ok()).flatten()?;
        is_readable(&metadata).then(|| (entry.path(), metadata))
    })
}

fn is_readable(metadata: &Metadata) -> bool {
    metadata.mode() & 0o005 == 0o005
}
