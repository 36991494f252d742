//! Copies artifacts into a directory of the user's: `DIR/STEP/PATH`.
//!
//! What lies in the directory may be a repository's: below it no link is followed.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use hm_exec::local::{Artifact, ArtifactStore};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::fail::{Failure, Result};

/// Copies these artifacts; what is there under the same name is replaced, as `cp` does it.
///
/// # Errors
/// When one is gone, or cannot be written.
pub fn copy_out<'a>(
    store: &ArtifactStore,
    artifacts: impl IntoIterator<Item = &'a Artifact>,
    to: &Path,
) -> Result<u64> {
    let mut copied = 0;
    let mut destination = Destination::open(to)?;
    for artifact in artifacts {
        let path = Path::new(&artifact.path);
        // Whatever a damaged list says, nothing is written elsewhere.
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::plain_usage(format!(
                "the artifact {} is no path below the workspace",
                artifact.path
            )));
        }
        let below = step_directory(&artifact.step).join(path);
        destination.write(store, artifact, &below)?;
        copied += 1;
    }
    Ok(copied)
}

/// Where a step's artifacts go. A key may have slashes, which make directories, but leads nowhere else.
fn step_directory(key: &str) -> PathBuf {
    let part = |part| {
        if matches!(part, "" | "." | "..") {
            "_"
        } else {
            part
        }
    };
    key.split('/').map(part).collect()
}

/// The directory of the user's.
struct Destination {
    path: PathBuf,
    root: OwnedFd,
    /// The directory that was written to last: artifacts come in order.
    last: Option<(PathBuf, OwnedFd)>,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

impl Destination {
    fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Failure::io("cannot create", path))?;
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|errno| Failure::io("cannot open", path)(errno.into()))?;
        Ok(Self {
            path: path.to_owned(),
            root,
            last: None,
        })
    }

    fn write(&mut self, store: &ArtifactStore, artifact: &Artifact, below: &Path) -> Result<()> {
        let target = self.path.join(below);
        let failed = |errno: Errno| Failure::io("cannot write", &target)(errno.into());
        let (Some(above), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(failed(Errno::INVAL));
        };
        let directory = self.directory(above)?;
        // Under another name first, so that a copy is whole or not there, and no link is written through.
        let half = format!(".hm-{}", uuid::Uuid::new_v4());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if artifact.executable { 0o777 } else { 0o666 });
        let file = rustix::fs::openat(directory, &half, flags, mode).map_err(failed)?;
        let copied = store
            .copy(artifact, &mut File::from(file))
            .map_err(Failure::from)
            .and_then(|()| rustix::fs::renameat(directory, &half, directory, name).map_err(failed));
        if copied.is_err() {
            // The failure says more than a leftover would.
            let _ = rustix::fs::unlinkat(directory, &half, AtFlags::empty());
        }
        copied
    }

    /// Opens a directory below, step by step, and makes what is missing.
    fn directory(&mut self, below: &Path) -> Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|(last, _)| last != below) {
            let mut here = PathBuf::new();
            let mut opened: Option<OwnedFd> = None;
            for part in below.components() {
                here.push(part);
                let above = opened.as_ref().unwrap_or(&self.root);
                opened = Some(enter(above, part.as_os_str(), &self.path.join(&here))?);
            }
            let Some(opened) = opened else {
                return Ok(&self.root);
            };
            self.last = Some((below.to_owned(), opened));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, directory)| directory))
    }
}

/// Opens a directory of this name, or makes it.
fn enter(above: &OwnedFd, name: &std::ffi::OsStr, path: &Path) -> Result<OwnedFd> {
    let open = || rustix::fs::openat(above, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(errno) => Err(errno),
        },
        opened => opened,
    };
    match opened {
        Err(Errno::LOOP | Errno::NOTDIR) => Err(Failure::usage(
            format!(
                "{} is no directory of its own: it is a link, or a file",
                path.display()
            ),
            ["artifacts are written through no link: remove it, or name another directory"],
        )),
        opened => opened.map_err(|errno| Failure::io("cannot create", path)(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steps_key_leads_nowhere_else() {
        for (key, wanted) in [
            ("test", "test"),
            ("test/unit", "test/unit"),
            ("../x", "_/x"),
            ("/etc", "_/etc"),
            ("a//./..", "a/_/_/_"),
        ] {
            assert_eq!(step_directory(key), Path::new(wanted), "{key}");
        }
    }
}
