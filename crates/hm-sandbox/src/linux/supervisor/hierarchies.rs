//! Where cgroups can be made, and the directories of runs there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// The version of the kernel's interface that a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// What begins the name of every directory of a run.
const PREFIX: &str = "hm.";

/// A directory of a run. It is locked for as long as the run's supervisor lives, and so no other run removes it, in
/// whichever container that is.
#[derive(Debug)]
pub(super) struct RunDirectory {
    pub path: PathBuf,
    _lock: OwnedFd,
}

impl RunDirectory {
    /// Makes one below `parent`, after those of dead supervisors are gone.
    pub(super) fn make(parent: &Path) -> Option<Self> {
        for entry in std::fs::read_dir(parent).ok()?.flatten() {
            let is_ours = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes());
            if is_ours && lock(&entry.path()).is_ok() {
                remove(&entry.path());
            }
        }
        // Another run may take it for a dead one's before it is locked.
        (0..8).find_map(|_| {
            let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::now_v7().simple()));
            std::fs::create_dir(&path).ok()?;
            let lock = lock(&path).ok()?;
            path.exists().then_some(Self { path, _lock: lock })
        })
    }

    /// Removes it and what is below; its processes are gone.
    pub(super) fn remove(&self) {
        remove(&self.path);
    }
}

fn lock(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive)?;
    Ok(opened)
}

fn remove(run: &Path) {
    for slot in std::fs::read_dir(run).into_iter().flatten().flatten() {
        // Its files are the kernel's: they are not to be removed.
        let _ = std::fs::remove_dir(slot.path());
    }
    let _ = std::fs::remove_dir(run);
}

/// The hierarchies that this process is in: version, names of the controllers, and its directory there.
pub(super) fn memberships(membership: &str, mountinfo: &str) -> Vec<(Version, Vec<String>, PathBuf)> {
    let mut mounted: Vec<(Version, Vec<String>, PathBuf, PathBuf)> = Vec::new();
    for line in mountinfo.lines() {
        // See proc_pid_mountinfo(5): "… root mount-point options optional… - type source super-options".
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let mut front = front.split(' ').skip(3);
        let (Some(root), Some(point)) = (front.next(), front.next()) else {
            continue;
        };
        let mut back = back.split(' ');
        let version = match back.next() {
            Some("cgroup2") => Version::Two,
            Some("cgroup") => Version::One,
            _ => continue,
        };
        let options = back
            .nth(1)
            .unwrap_or_default()
            .split(',')
            .map(ToOwned::to_owned)
            .collect();
        mounted.push((version, options, root.into(), point.into()));
    }
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(own)) = (fields.next(), fields.next()) else {
            continue;
        };
        let names: Vec<_> = names
            .split(',')
            .filter(|name| !name.is_empty())
            .map(ToOwned::to_owned)
            .collect();
        let mount = mounted.iter().find(|(version, options, _, _)| match version {
            Version::Two => names.is_empty(),
            Version::One => names.iter().any(|name| options.contains(name)),
        });
        if let Some((version, _, root, point)) = mount {
            let below = Path::new(own)
                .strip_prefix(root)
                .unwrap_or_else(|_| Path::new(""));
            let own = if below.as_os_str().is_empty() {
                point.clone()
            } else {
                point.join(below)
            };
            found.push((*version, names, own));
        }
    }
    // Version 2 first: where it controls something, version 1 cannot.
    found.sort_by_key(|(version, ..)| *version == Version::One);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let membership = "4:memory:/\n8:pids:/a\n0::/user.slice/x\n";
        let mounts = "\
            30 20 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            31 20 0:27 / /sys/fs/cgroup/pids rw,relatime shared:1 - cgroup cgroup rw,pids\n\
            32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = memberships(membership, mounts);
        let places: Vec<_> = found
            .iter()
            .map(|(version, _, own)| (*version, own.to_str().unwrap()))
            .collect();
        assert_eq!(
            places,
            [
                (Version::Two, "/sys/fs/cgroup/unified/user.slice/x"),
                (Version::One, "/sys/fs/cgroup/memory"),
                (Version::One, "/sys/fs/cgroup/pids/a"),
            ]
        );
    }

    #[test]
    fn locked_directory_of_another_run_stays() {
        let parent = tempfile::tempdir().expect("a directory");
        let first = RunDirectory::make(parent.path()).expect("a directory");
        let second = RunDirectory::make(parent.path()).expect("another one");
        assert!(first.path.exists() && second.path.exists() && first.path != second.path);
        let left = first.path.clone();
        drop(first);
        let third = RunDirectory::make(parent.path()).expect("a third one");
        assert!(!left.exists() && second.path.exists());
        third.remove();
        assert!(!third.path.exists());
    }
}
