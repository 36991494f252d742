//! What of the host's root a step does not see.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::owned;
use super::places::{SHOWN, real};
use crate::linux::frame::FramePlan;
use crate::surface::SandboxConfig;

/// The directories of /var that programs expect.
pub(super) fn frame_var(frame: &mut FramePlan) {
    for (path, mode) in [
        ("/var/cache/apt/archives/partial", 0o755),
        ("/var/lib/apt/lists/partial", 0o755),
        ("/var/log", 0o755),
        ("/var/mail", 0o755),
        ("/var/spool", 0o755),
        ("/var/tmp", 0o1777),
        ("/run/lock", 0o1777),
    ] {
        frame.directory(path, mode);
    }
    frame.symlink("/var/run", "/run");
    frame.symlink("/var/lock", "/run/lock");
}

/// What not everybody may read.
pub(super) fn is_unreadable(metadata: &Metadata) -> bool {
    let readable = if metadata.is_dir() { 0o005 } else { 0o004 };
    !metadata.is_symlink() && metadata.mode() & readable != readable
}

/// Whether a path of the directories that are shown is hidden, or lies in something that is.
pub(super) fn is_hidden(path: &Path) -> bool {
    let top = |above: &Path| {
        SHOWN
            .iter()
            .any(|name| above.starts_with(Path::new("/").join(name)))
    };
    path.ancestors()
        .filter(|above| top(above))
        .any(|above| std::fs::metadata(above).is_ok_and(|metadata| is_unreadable(&metadata)))
}

/// The home and hm's data, by every name. A home that `PATH` names is a system directory, as daemons have it.
pub(super) fn places(config: &SandboxConfig, home: &Path) -> Vec<PathBuf> {
    let public = |path: &PathBuf| {
        path == Path::new("/") || config.path.split(':').any(|shown| Path::new(shown) == path)
    };
    [home, &real(home), &config.data_dir, &real(&config.data_dir)]
        .into_iter()
        .map(Path::to_owned)
        .filter(|path| !public(path))
        .collect()
}

/// What of a directory can be shown: all of it or, where something private lies below it, what is beside that.
/// Only that way, and not by an overlay that hides it: an overlay cannot write to what lies below its own
/// lower layer.
pub(super) fn around(
    directory: PathBuf,
    private: &[PathBuf],
    links: &mut Vec<(PathBuf, PathBuf)>,
    show: &mut impl FnMut(PathBuf),
) {
    if !private.iter().any(|path| path.starts_with(&directory)) {
        show(directory);
    } else if !private.contains(&directory) {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match std::fs::read_link(&path) {
                Ok(target) => links.push((path, target)),
                Err(_) if path.is_dir() => around(path, private, links, show),
                Err(_) => {}
            }
        }
    }
}

/// Hides what of /etc not everybody may read (private keys, password hashes, tokens), and puts a shadow
/// file without passwords in its place, which `useradd` and package scripts want. `copied`: the step's root gets
/// the rest as its own, to change as it likes.
pub(super) fn etc(frame: &mut FramePlan, copied: bool) {
    let etc = Path::new("/etc");
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(etc.join(&directory)) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = directory.join(entry.file_name());
            if metadata.is_symlink() {
                continue;
            } else if is_unreadable(&metadata) {
                frame.whiteout(etc.join(path));
            } else if metadata.is_dir() {
                if copied {
                    frame.directory(etc.join(&path), owned::mode(&metadata));
                }
                directories.push(path);
            } else if copied && metadata.is_file() && metadata.len() <= owned::COPIED {
                frame.copy(etc.join(path), &metadata);
            }
        }
    }
    let names = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split(':').next())
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    };
    let lines = |names: Vec<String>, rest: &str| names.iter().map(|name| format!("{name}{rest}\n")).collect();
    frame.file(
        "/etc/shadow",
        lines(names("/etc/passwd"), ":*:19000:0:99999:7:::"),
    );
    frame.file("/etc/gshadow", lines(names("/etc/group"), ":*::"));
}
