//! The image `host`: this machine's own root file system, read-only, without what is private in it.
//!
//! It is put together from what a build needs (`/usr`, `/etc`, `/opt`, the package database, and the directories
//! that `PATH` names), never from what is to be left out: a directory that nobody thought of stays hidden.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod addresses;
mod digest;
pub(super) mod owned;
mod passed;
mod places;
mod private;
mod scan;
mod state;
mod toolchains;
mod unreadable;
mod user_files;

pub(super) use digest::{changes, digest, directory_digest};
pub(super) use user_files::GIT_IDENTITY;

use places::{DPKG, SHOWN, real};

use super::frame::FramePlan;
use super::protocol::{Bind, Identity};
use crate::surface::SandboxConfig;

/// Where an empty directory is as good as the host's.
const OFTEN_EMPTY: &[&str] = &["/opt", "/nix", "/gnu"];

/// Of /var, the package manager's database alone.
const PACKAGE_DATABASES: &[&str] = &[
    DPKG,
    "/var/lib/rpm",
    "/var/lib/dnf",
    "/var/lib/pacman",
    "/var/lib/apk",
];

/// Where git has its settings for everybody: the distribution's, and one that was installed beside it.
const GIT_SETTINGS: [&str; 2] = ["/etc/gitconfig", "/usr/local/etc/gitconfig"];

pub(super) const APT_SETTINGS: &str = "/etc/apt/apt.conf.d";

/// Has apt do without the user that it downloads as, where there are no other users.
pub(super) const APT_ALONE: &str = "APT::Sandbox::User \"root\";\n";

/// The host's root, taken apart.
#[derive(Debug)]
pub(super) struct HostRoot {
    /// Mount points of overlays, and the host's directory that each shows.
    pub overlays: Vec<(PathBuf, PathBuf)>,
    /// Shown read-only.
    pub binds: Vec<Bind>,
    pub frame: FramePlan,
    /// What lies between the frame and the host's own directories.
    pub skeleton: Option<owned::Skeleton>,
    pub env: BTreeMap<String, String>,
}

/// Looks at the host's root. Each directory that is shown has an overlay of its own: one over `/` is refused in
/// a user namespace, and wherever hm's data lie on the same file system.
pub(super) fn inspect(config: &SandboxConfig, identity: Identity) -> HostRoot {
    let root = identity == Identity::Root;
    let home = config.home.clone().unwrap_or_else(|| PathBuf::from("/root"));
    let private = private::places(config, &home);
    let (mut links, mut shown, mut overlays, mut binds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut empty = Vec::new();
    let mut show = |path: PathBuf| {
        shown.push(path.clone());
        let is_empty = || std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
        if OFTEN_EMPTY.iter().any(|name| path.starts_with(name)) && is_empty() {
            empty.push(path);
        // An ordinary user's steps could not write to these anyway, and each overlay has its price. But a
        // socket of the host can be reached through a bind mount, and not through an overlay.
        } else if root || path == Path::new(DPKG) || !path.starts_with("/var") {
            overlays.push(path);
        } else {
            binds.push(Bind {
                source: path.clone(),
                target: path,
            });
        }
    };
    for path in SHOWN.iter().map(|name| Path::new("/").join(name)) {
        match std::fs::read_link(&path) {
            Ok(target) => links.push((path, target)),
            Err(_) if path.is_dir() => private::around(path, &private, &mut links, &mut show),
            Err(_) => {}
        }
    }
    let databases = PACKAGE_DATABASES.iter().map(PathBuf::from);
    databases.filter(|path| path.is_dir()).for_each(show);

    let skeleton = (!root).then(|| owned::Skeleton::of(&overlays));
    let mut sources = overlays.clone();
    // Programs are installed into toolchains, too; and a socket of the host does not answer through an overlay.
    for bind in toolchains::toolchains(config, &home, &shown) {
        shown.push(bind.target.clone());
        if toolchains::can_be_written_over(&bind.source) {
            overlays.push(bind.target);
            sources.push(bind.source);
        } else {
            binds.push(bind);
        }
    }

    let mut frame = FramePlan::new(&overlays);
    for (path, target) in links {
        frame.symlink(path, target);
    }
    for mount in &overlays {
        if let Some(above) = mount.parent() {
            frame.directory(above, 0o755);
        }
        frame.mount_on(mount);
    }
    private::frame_var(&mut frame);
    if private.contains(&home) {
        frame.opaque(&home, 0o700);
    }
    for bind in &binds {
        frame.mount_point(&bind.target);
    }
    if root {
        for path in unreadable::unreadable(config, &overlays) {
            frame.whiteout(path);
        }
    }
    let passed = passed::passed(config, &home, &shown);
    for path in &empty {
        frame.mount_point(path);
    }
    private::etc(&mut frame, !root);
    if !root && overlays.iter().any(|mount| mount == Path::new(DPKG)) {
        owned::dpkg(&mut frame, Path::new(DPKG));
    }
    if !root && Path::new(APT_SETTINGS).is_dir() {
        let alone = matches!(identity, Identity::Single { .. });
        let settings = format!("{}{}", owned::ASKS_FIRST, if alone { APT_ALONE } else { "" });
        frame.file(Path::new(APT_SETTINGS).join("99hm"), settings);
        frame.file("/etc/apt/hm-upgrades", owned::REFUSES_UPGRADES.into());
    }
    frame.resolver();
    user_settings(&mut frame, config, &home);
    for file in &passed.files {
        frame.file(file, String::new());
        binds.push(Bind {
            source: file.clone(),
            target: file.clone(),
        });
    }

    let mut env = passed.env;
    env.insert("HOME".into(), home.to_string_lossy().into_owned());
    env.insert("USER".into(), "root".into());
    env.insert("LOGNAME".into(), "root".into());
    HostRoot {
        overlays: overlays.into_iter().zip(sources).collect(),
        binds,
        frame,
        skeleton,
        env,
    }
}

/// What git and package managers are to know: an identity for commits, and the user's mirrors.
fn user_settings(frame: &mut FramePlan, config: &SandboxConfig, home: &Path) {
    for system in GIT_SETTINGS.map(Path::new) {
        let own = if private::is_hidden(system) {
            String::new()
        } else {
            std::fs::read_to_string(system).unwrap_or_default()
        };
        // What the host says comes later, and counts.
        frame.file(system, format!("{GIT_IDENTITY}{own}"));
    }
    let cargo_home = config.host_env.get("CARGO_HOME").map(Path::new);
    for (file, text) in user_files::settings(home, cargo_home) {
        frame.file(file, text);
    }
}
