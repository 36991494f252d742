//! Where a step's cache directories are kept.
//!
//! One that has a place of its own in the machine (`~/.cargo/registry`) is shared by everything on this machine that
//! gives it that name: what is in it is the same wherever it is used. One in the workspace (`node_modules/.cache`) is of
//! its repository: the name that the backend is given ends in a digest of where the worktree is.

use std::path::{Path, PathBuf};

use hm_pipeline_ir::CacheDirectory;
use hm_vm::{CacheKeep, CacheMount};

/// How many characters of a worktree's digest tell it from others.
const DIGEST: usize = 16;

/// What the backend is to show a step of the worktree at `repo_root`.
pub(super) fn mount(cache: &CacheDirectory, repo_root: &Path) -> CacheMount {
    let path = Path::new(&cache.path);
    let keep = match cache.keep {
        hm_pipeline_ir::CacheKeep::Passed => CacheKeep::Passed,
        hm_pipeline_ir::CacheKeep::Always => CacheKeep::Always,
    };
    if path.is_absolute() || path.starts_with("~") {
        return CacheMount {
            name: cache.name.clone(),
            path: path.to_owned(),
            keep,
        };
    }
    let digest = blake3::hash(repo_root.as_os_str().as_encoded_bytes()).to_hex();
    CacheMount {
        name: format!("{}.{}", cache.name, &digest[..DIGEST]),
        path: PathBuf::from("/workspace").join(path),
        keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(path: &str, repo_root: &str) -> (String, PathBuf) {
        let cache = CacheDirectory {
            name: "deps".into(),
            path: path.into(),
            keep: hm_pipeline_ir::CacheKeep::default(),
        };
        let mount = mount(&cache, Path::new(repo_root));
        (mount.name, mount.path)
    }

    #[test]
    fn one_in_the_workspace_is_of_its_repository() {
        let (name, path) = mounted("node_modules/.cache", "/home/a");
        assert_eq!(path, Path::new("/workspace/node_modules/.cache"));
        assert!(name.starts_with("deps.") && name.len() == "deps.".len() + DIGEST);
        assert_eq!(mounted("node_modules/.cache", "/home/a").0, name);
        assert_ne!(mounted("node_modules/.cache", "/home/b").0, name);
    }

    #[test]
    fn one_elsewhere_is_shared_under_its_name() {
        for path in ["~/.cargo/registry", "/var/cache/deps"] {
            assert_eq!(mounted(path, "/home/a"), ("deps".into(), PathBuf::from(path)));
        }
    }
}
