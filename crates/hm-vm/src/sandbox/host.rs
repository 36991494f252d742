//! The image `host`: this machine's own root file system, read-only, without what is private in it.
//!
//! It is put together from what a build needs (`/usr`, `/etc`, `/opt`, the package database, and the directories
//! that `PATH` names), never from what is to be left out: a directory that nobody thought of stays hidden.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::SandboxConfig;
use super::frame::FramePlan;
use super::protocol::Bind;

/// Directories of the root that are shown, each an overlay of its own: an overlay over `/` itself is refused
/// in a user namespace.
const SHOWN: &[&str] = &[
    "usr", "etc", "opt", "nix", "gnu", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
];

/// Of /var, the package manager's database alone.
const SHOWN_IN_VAR: &[&str] = &[
    "lib/dpkg",
    "lib/apt",
    "lib/rpm",
    "lib/dnf",
    "lib/pacman",
    "lib/apk",
    "lib/ucf",
    "lib/pam",
];

/// Toolchains in a home: a directory on `PATH` (relative to the home), and what must be seen for it to work.
/// A longer prefix stands before a shorter one.
const TOOLCHAINS: &[(&str, &[&str])] = &[
    (".cargo/bin", &[".cargo/bin", ".rustup"]),
    (".local/share/mise", &[".local/share/mise"]),
    (".local/share/uv", &[".local/share/uv"]),
    (".local/share/pnpm", &[".local/share/pnpm"]),
    (
        ".local/bin",
        &[
            ".local/bin",
            ".local/lib",
            ".local/share/uv/python",
            ".local/share/uv/tools",
            ".local/share/pipx",
        ],
    ),
    (".pyenv", &[".pyenv"]),
    (".rbenv", &[".rbenv"]),
    (".nodenv", &[".nodenv"]),
    (".nvm/versions", &[".nvm/versions"]),
    (".volta", &[".volta"]),
    (".asdf", &[".asdf"]),
    (".sdkman/candidates", &[".sdkman/candidates"]),
    (".ghcup", &[".ghcup"]),
    (".juliaup", &[".juliaup", ".julia/juliaup"]),
    (".dotnet", &[".dotnet"]),
    (".nix-profile", &[".nix-profile"]),
    ("miniconda3", &["miniconda3"]),
    ("miniforge3", &["miniforge3"]),
    ("anaconda3", &["anaconda3"]),
];

/// Variables of the host's environment that say where a toolchain lies: a step on `host` gets them.
pub const PASSED_VARIABLES: &[&str] = &[
    "CARGO_HOME",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// The host's root, taken apart.
#[derive(Debug)]
pub(super) struct HostRoot {
    /// Overlays, by mount point.
    pub overlays: Vec<PathBuf>,
    /// Toolchains, read-only.
    pub binds: Vec<Bind>,
    pub frame: FramePlan,
    pub env: BTreeMap<String, String>,
}

/// Looks at the host's root.
pub(super) fn inspect(config: &SandboxConfig) -> HostRoot {
    let root = Path::new("/");
    let mut frame = FramePlan::new();
    let mut overlays = Vec::new();
    for name in SHOWN {
        let path = root.join(name);
        match std::fs::read_link(&path) {
            Ok(target) => frame.symlink(root, Path::new(name), target),
            Err(_) if path.is_dir() => {
                frame.directory(root, Path::new(name), 0o755);
                overlays.push(path);
            }
            Err(_) => {}
        }
    }
    frame_var(&mut frame, &mut overlays);
    let home = config.home.clone().unwrap_or_else(|| PathBuf::from("/root"));
    let public = |path: &Path| path == root || config.path.split(':').any(|shown| Path::new(shown) == path);
    for private in [&home, &real(&home), &config.data_dir, &real(&config.data_dir)] {
        let (mount, inside) = beneath(&overlays, private);
        if !public(private) && !inside.as_os_str().is_empty() {
            if mount != root {
                frame.opaque(mount, inside, 0o700);
            } else if *private == home {
                frame.directory(root, inside, 0o700);
            }
        }
    }
    let binds = toolchains(config, &home, &overlays);
    for bind in &binds {
        let (mount, inside) = beneath(&overlays, &bind.target);
        frame.mount_point(mount, inside);
    }
    hide_credentials(&mut frame);
    frame.resolver(Path::new("/etc"));

    let mut env = config.host_env.clone();
    env.insert("PATH".into(), config.path.clone());
    env.insert("HOME".into(), home.to_string_lossy().into_owned());
    env.insert("USER".into(), "root".into());
    env.insert("LOGNAME".into(), "root".into());
    HostRoot {
        overlays,
        binds,
        frame,
        env,
    }
}

/// The overlay that shows a path, and where in it.
fn beneath<'a>(overlays: &'a [PathBuf], path: &'a Path) -> (&'a Path, &'a Path) {
    let root = Path::new("/");
    let mount = overlays.iter().find(|overlay| path.starts_with(overlay));
    let mount = mount.map_or(root, PathBuf::as_path);
    (mount, path.strip_prefix(mount).unwrap_or(path))
}

/// Where a path leads, or the path itself when it leads nowhere yet.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn frame_var(frame: &mut FramePlan, overlays: &mut Vec<PathBuf>) {
    let root = Path::new("/");
    for (path, mode) in [
        ("var/cache/apt/archives/partial", 0o755),
        ("var/lib", 0o755),
        ("var/log", 0o755),
        ("var/mail", 0o755),
        ("var/spool", 0o755),
        ("var/tmp", 0o1777),
    ] {
        frame.directory(root, Path::new(path), mode);
    }
    frame.symlink(root, Path::new("var/run"), PathBuf::from("/run"));
    frame.symlink(root, Path::new("var/lock"), PathBuf::from("/run/lock"));
    frame.directory(root, Path::new("run/lock"), 0o1777);
    for name in SHOWN_IN_VAR {
        let path = Path::new("/var").join(name);
        if path.is_dir() {
            frame.directory(root, &Path::new("var").join(name), 0o755);
            overlays.push(path);
        }
    }
}

/// What of the directories on `PATH` no overlay shows.
fn toolchains(config: &SandboxConfig, home: &Path, overlays: &[PathBuf]) -> Vec<Bind> {
    let mut shown: Vec<PathBuf> = Vec::new();
    for directory in config
        .path
        .split(':')
        .map(Path::new)
        .filter(|path| path.is_absolute())
    {
        match directory.strip_prefix(home) {
            Ok(inside) if inside.as_os_str().is_empty() => {}
            Ok(inside) => match TOOLCHAINS.iter().find(|(prefix, _)| inside.starts_with(prefix)) {
                Some((_, parts)) => shown.extend(parts.iter().map(|part| home.join(part))),
                None => shown.push(directory.to_owned()),
            },
            Err(_) => shown.push(directory.to_owned()),
        }
    }
    // rustup may keep its toolchains elsewhere in the home.
    shown.extend(config.host_env.get("RUSTUP_HOME").map(PathBuf::from));
    let (real_home, real_data) = (real(home), real(&config.data_dir));
    let hidden = |path: &PathBuf| {
        let leads_to = real(path);
        let in_overlay = overlays.iter().any(|overlay| path.starts_with(overlay))
            || SHOWN
                .iter()
                .any(|name| path.starts_with(Path::new("/").join(name)));
        (!in_overlay || path.starts_with(home))
            && path.is_dir()
            && !path.components().any(|part| part == Component::ParentDir)
            // What holds the home or hm's data would show them.
            && !real_home.starts_with(&leads_to)
            && !real_data.starts_with(&leads_to)
            && !leads_to.starts_with(&real_data)
    };
    shown.retain(hidden);
    shown.sort();
    shown.dedup();
    // What lies within another one is shown by it.
    let all = shown.clone();
    shown.retain(|path| !all.iter().any(|other| path != other && path.starts_with(other)));
    shown
        .into_iter()
        .map(|target| {
            let source = std::fs::canonicalize(&target).unwrap_or_else(|_| target.clone());
            Bind { source, target }
        })
        .collect()
}

/// Hides what of /etc not everybody may read (private keys, password hashes, tokens), and puts a shadow
/// file without passwords in its place, which `useradd` and package scripts want.
fn hide_credentials(frame: &mut FramePlan) {
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
                frame.whiteout(etc, &path);
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
        etc,
        Path::new("shadow"),
        lines(names("/etc/passwd"), ":*:19000:0:99999:7:::"),
    );
    frame.file(etc, Path::new("gshadow"), lines(names("/etc/group"), ":*::"));
}

/// Identifies the host's content as far as a build can tell: the distribution, its package database, and the
/// toolchains on `PATH`.
pub(super) fn digest(config: &SandboxConfig) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(std::env::consts::ARCH.as_bytes());
    hasher.update(&std::fs::read("/etc/os-release").unwrap_or_default());
    let fixed = [
        "/var/lib/dpkg/status",
        "/var/lib/rpm",
        "/var/lib/pacman/local",
        "/lib/apk/db/installed",
        "/usr/local/bin",
        "/usr/local/lib",
    ];
    let home = config.home.as_deref();
    let rustup = config
        .host_env
        .get("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".rustup")));
    let rustup = rustup
        .iter()
        .flat_map(|rustup| [rustup.join("settings.toml"), rustup.join("toolchains")]);
    let on_path = config.path.split(':').map(PathBuf::from);
    for path in fixed.iter().map(PathBuf::from).chain(on_path).chain(rustup) {
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
    format!("host:{}", &hasher.finalize().to_hex()[..32])
}
