//! Toolchains that `PATH` names where no overlay shows them, such as in a home: seen read-only, without the
//! secrets beside them.

use std::path::{Component, Path, PathBuf};

use super::places::{SHOWN, real};
use crate::sandbox::SandboxConfig;
use crate::sandbox::protocol::Bind;

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
    // rustup may keep its toolchains elsewhere in the home.
    shown.extend(config.host_env.get("RUSTUP_HOME").map(PathBuf::from));
    let (real_home, real_data) = (real(home), real(&config.data_dir));
    let hidden = |path: &PathBuf| {
        let leads_to = real(path);
        let in_overlay = shown_already.iter().any(|overlay| path.starts_with(overlay))
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
