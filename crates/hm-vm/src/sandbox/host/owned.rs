//! What of the host's root an ordinary user's step owns.
//!
//! The host's root has no id in a user's step: its directories could not be written to, and no package could be
//! installed. But an overlay's directory has the owner of its topmost layer. So between the frame and the host lies a
//! skeleton: the host's directories without anything in them, owned by the user, who is root inside. What lies
//! in them stays the host's and is replaced, not written to; what programs do write to in place (/etc, the
//! package database) is copied into the frame.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::sandbox::frame::{Frame, FramePlan};

/// A larger file is not copied.
pub(super) const COPIED: u64 = 16 << 20;

/// A program that keeps more directories than these below one of its own is not put together by packages.
const OF_ONE_PROGRAM: usize = 4000;

/// Where software is put without the package manager telling, and how deep the skeleton goes there: each run
/// looks at them.
const LOOKED_AT: &[(&str, usize)] = &[("/usr/local", 3), ("/opt", 1), ("/nix", 1), ("/gnu", 1)];

/// Changes with what a skeleton is made of.
const FORM: &str = "skeleton-1";

/// The rights to a directory that a step's root owns.
pub(super) fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o1777 | 0o700
}

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
pub(in crate::sandbox) struct Skeleton {
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
    pub(in crate::sandbox) fn build(self, frames: &Path) -> Result<Frame> {
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
        let is_of_packages = |mount: &&PathBuf| {
            let others = LOOKED_AT.iter().map(|(path, _)| *path).chain(["/etc", "/var"]);
            !others.into_iter().any(|other| mount.starts_with(other))
        };
        let of_packages = self.mounts.iter().filter(is_of_packages);
        for mount in of_packages {
            grow(&mut plan, mount);
        }
        plan
    }
}

/// Adds what lies below a directory, but for trees that are looked at and those of one huge program.
fn grow(plan: &mut FramePlan, directory: &Path) {
    // /usr/lib/NAME: what lies deeper is of one program, or of few.
    let is_shallow = directory.components().count() < 4;
    for (path, metadata) in directories(directory) {
        if LOOKED_AT
            .iter()
            .any(|(looked_at, _)| path == Path::new(looked_at))
        {
            continue;
        }
        plan.directory(&path, mode(&metadata));
        if is_shallow {
            grow(plan, &path);
        } else {
            let mut below = Vec::new();
            walk(&path, usize::MAX, &mut |path, metadata| {
                below.push((path.to_owned(), mode(metadata)));
            });
            if below.len() <= OF_ONE_PROGRAM {
                for (path, mode) in below {
                    plan.directory(path, mode);
                }
            }
        }
    }
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
