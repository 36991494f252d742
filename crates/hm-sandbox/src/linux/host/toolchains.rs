//! Toolchains that `PATH` names where no other overlay shows them, such as in a home: seen without the secrets beside
//! them, and written to as /usr is: copy on write.

use std::path::{Component, Path, PathBuf};

use super::places::{SHOWN, real};
use crate::linux::protocol::Bind;
use crate::surface::SandboxConfig;
use crate::surface::{PASSED_VARIABLES, Passing};

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

/// What of the directories on `PATH` no overlay shows.
pub(super) fn toolchains(config: &SandboxConfig, home: &Path, shown_already: &[PathBuf]) -> Vec<Bind> {
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
    // What variables name may lie elsewhere in the home.
    let named = PASSED_VARIABLES
        .iter()
        .filter(|(_, how)| *how == Passing::Directories);
    let named = named.filter_map(|(name, _)| config.host_env.get(*name));
    shown.extend(named.flat_map(|value| value.split(':')).map(PathBuf::from));
    shown.extend(config.show.iter().cloned());
    let (real_home, real_data) = (real(home), real(&config.data_dir));
    let hidden = |path: &PathBuf| {
        let leads_to = real(path);
        let in_overlay = shown_already.iter().any(|overlay| path.starts_with(overlay))
            || SHOWN
                .iter()
                .any(|name| path.starts_with(Path::new("/").join(name)));
        (!in_overlay || path.starts_with(home))
            && path.is_dir()
            && path.is_absolute()
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

/// File systems that can lie below an overlay, by the number that statfs(2) gives.
const LOWER: &[i64] = &[
    0xef53,      // ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x0102_1994, // tmpfs
    0x2fc1_2fc1, // ZFS
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x7371_7368, // squashfs
    0x6969,      // NFS
    0x794c_7630, // overlayfs
];

/// Whether an overlay can lie above a directory. One of an ordinary user cannot where something is mounted inside.
pub(super) fn can_be_written_over(directory: &Path) -> bool {
    let fits = rustix::fs::statfs(directory).is_ok_and(|found| LOWER.contains(&found.f_type));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    fits && !points.any(|point| Path::new(point) != directory && Path::new(point).starts_with(directory))
}
