//! The Python package that is part of this crate, and its copy on disk.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::DslError;

macro_rules! files {
    ($($path:literal),+ $(,)?) => { &[$(($path, include_str!(concat!("../../python/", $path)))),+] };
}

/// Every file of the package.
const FILES: &[(&str, &str)] = files![
    "boot.py",
    "harmont/__init__.py",
    "harmont/barrier.py",
    "harmont/cache.py",
    "harmont/check.py",
    "harmont/context.py",
    "harmont/digest.py",
    "harmont/duration.py",
    "harmont/hashes.py",
    "harmont/json_emit.py",
    "harmont/keygen.py",
    "harmont/lower.py",
    "harmont/names.py",
    "harmont/needs.py",
    "harmont/options.py",
    "harmont/pipelines.py",
    "harmont/registry.py",
    "harmont/shells.py",
    "harmont/step.py",
    "harmont/targets.py",
    "harmont/text.py",
    "harmont/triggers.py",
    "harmont/types.py",
    "hm_host/__init__.py",
    "hm_host/calls.py",
    "hm_host/environment.py",
    "hm_host/events.py",
    "hm_host/failure.py",
    "hm_host/load.py",
    "hm_host/main.py",
    "hm_host/notes.py",
    "hm_host/probes.py",
    "hm_host/recorder.py",
    "hm_host/site_packages.py",
    "hm_host/suggest.py",
];

static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for (path, text) in FILES {
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
});

/// The digest of the package.
pub(crate) fn digest() -> &'static str {
    &DIGEST
}

/// Makes sure that the package is on disk below `cache_dir`, and returns its directory. Whoever comes second
/// uses what the first one left.
pub(crate) fn unpack(cache_dir: &Path) -> Result<PathBuf, DslError> {
    let home = cache_dir.join(format!("python-{}", digest()));
    if is_whole(&home) {
        return Ok(home);
    }
    // A package that was damaged would give other plans; a half of one, none.
    let removed = if home.is_dir() {
        fs::remove_dir_all(&home)
    } else {
        fs::remove_file(&home)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(DslError::io("remove", &home)(error));
        }
        _ => {}
    }
    fs::create_dir_all(cache_dir).map_err(DslError::io("create", cache_dir))?;
    let fresh = tempfile::Builder::new()
        .prefix(".python-")
        .tempdir_in(cache_dir)
        .map_err(DslError::io("create a directory in", cache_dir))?;
    for (path, text) in FILES {
        let file = fresh.path().join(path);
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).map_err(DslError::io("create", dir))?;
        }
        fs::write(&file, text).map_err(DslError::io("write", &file))?;
    }
    match fs::rename(fresh.path(), &home) {
        Err(e) if !home.join("boot.py").is_file() => Err(DslError::io("create", &home)(e)),
        _ => Ok(home),
    }
}

/// Whether every file of the package is there as it was written.
fn is_whole(home: &Path) -> bool {
    FILES.iter().all(|(path, text)| {
        let path = home.join(path);
        fs::metadata(&path).is_ok_and(|there| there.is_file())
            && fs::read(&path).is_ok_and(|there| there == text.as_bytes())
    })
}
