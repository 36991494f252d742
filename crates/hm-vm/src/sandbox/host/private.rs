//! What of the host's root a step does not see.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::real;
use crate::sandbox::SandboxConfig;
use crate::sandbox::frame::FramePlan;

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

/// Hides the home and, where it would be shown, hm's data.
pub(super) fn hide_homes(frame: &mut FramePlan, config: &SandboxConfig, home: &Path, shown: &[PathBuf]) {
    let on_path = |path: &Path| config.path.split(':').any(|shown| Path::new(shown) == path);
    let would_be_shown = |path: &Path| shown.iter().any(|shown| path.starts_with(shown));
    let data = [config.data_dir.clone(), real(&config.data_dir)];
    let data = data.into_iter().filter(|path| would_be_shown(path));
    let elsewhere = Some(real(home)).filter(|path| would_be_shown(path));
    for private in data.chain([home.to_owned()]).chain(elsewhere) {
        if private != Path::new("/") && !on_path(&private) {
            frame.opaque(private, 0o700);
        }
    }
}

/// Hides what of /etc not everybody may read (private keys, password hashes, tokens), and puts a shadow
/// file without passwords in its place, which `useradd` and package scripts want.
pub(super) fn hide_credentials(frame: &mut FramePlan) {
    let etc = Path::new("/etc");
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(etc.join(&directory)) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = directory.join(entry.file_name());
            let readable = if metadata.is_dir() { 0o005 } else { 0o004 };
            if metadata.is_symlink() {
                continue;
            } else if metadata.mode() & readable != readable {
                frame.whiteout(etc.join(path));
            } else if metadata.is_dir() {
                directories.push(path);
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
