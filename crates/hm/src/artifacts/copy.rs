//! Copies artifacts into a directory of the user's: `DIR/STEP/PATH`.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use hm_exec::local::{Artifact, ArtifactStore};

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
    for artifact in artifacts {
        let path = Path::new(&artifact.path);
        // Whatever a damaged list says, nothing is written elsewhere.
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::plain_usage(format!(
                "the artifact {} is no path below the workspace",
                artifact.path
            )));
        }
        let target = to.join(step_directory(&artifact.step)).join(path);
        copy(store, artifact, &target)?;
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

fn copy(store: &ArtifactStore, artifact: &Artifact, target: &Path) -> Result<()> {
    let mut content = store.open(artifact)?;
    let directory = target.parent().unwrap_or(target);
    fs::create_dir_all(directory).map_err(Failure::io("cannot create", directory))?;
    // Under another name first, so that a copy is whole or not there, and no link is written through.
    let half = directory.join(format!(".hm-{}", uuid::Uuid::new_v4()));
    let copied = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if artifact.executable { 0o777 } else { 0o666 })
        .open(&half)
        .and_then(|mut file| io::copy(&mut content, &mut file))
        .and_then(|_| fs::rename(&half, target));
    if copied.is_err() {
        // The failure says more than a leftover would.
        let _ = fs::remove_file(&half);
    }
    copied.map_err(Failure::io("cannot write", target))
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
