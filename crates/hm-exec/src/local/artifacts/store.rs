//! Where artifacts lie.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hm_plugin_protocol::events::TestSummary;
use hm_vm::{SnapshotId, VmError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Result;

/// A file that a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The step's key in the plan.
    pub step: String,
    /// Where it was, relative to the workspace.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 digest of its content, in hexadecimal.
    pub digest: String,
    /// It could be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// What it says, where it is a JUnit report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestSummary>,
}

/// The artifacts of all runs over one data directory.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    root: PathBuf,
}

/// Held by whoever adds something: no sweep goes on meanwhile.
#[derive(Debug)]
pub(super) struct Adding {
    _lock: File,
}

impl ArtifactStore {
    /// The artifacts below a data directory, which is created when first needed.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("artifacts"),
        }
    }

    /// What a run's steps have made, in the order in which it was told; nothing for a run that is not known.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn of_run(&self, run: Uuid) -> Result<Vec<Artifact>> {
        let path = self.run(run);
        let lines = hm_fs::read(&path).map_err(VmError::io("cannot read", &path))?;
        let lines = lines.unwrap_or_default();
        let (artifacts, damaged) = parse_lines(&lines);
        if damaged {
            return Err(VmError::Corrupt {
                path,
                reason: "the list of the run's artifacts is not what was written there".into(),
            }
            .into());
        }
        Ok(artifacts)
    }

    /// Copies an artifact's content.
    ///
    /// # Errors
    /// When it is gone, cannot be written, or is not what the step made: then it is removed, so that the step runs again.
    pub fn copy(&self, artifact: &Artifact, to: &mut impl Write) -> Result<()> {
        let path = self.file(&artifact.digest).ok_or_else(|| VmError::Corrupt {
            path: self.root.clone(),
            reason: format!("`{}` is no digest", artifact.digest),
        })?;
        let mut content = File::open(&path).map_err(VmError::io("cannot open", &path))?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(VmError::io("cannot read", path)(error).into()),
            };
            let piece = buffer.get(..count).unwrap_or_default();
            hasher.update(piece);
            to.write_all(piece)
                .map_err(VmError::io("cannot write a copy of", &path))?;
        }
        if hasher.finalize().to_hex().as_str() == artifact.digest {
            return Ok(());
        }
        let _ = fs::remove_file(&path);
        Err(VmError::Corrupt {
            path,
            reason: format!(
                "it is not {} as step `{}` made it; the next run of the step makes it anew",
                artifact.path, artifact.step
            ),
        }
        .into())
    }

    /// How many bytes all contents have.
    #[must_use]
    pub fn usage(&self) -> u64 {
        two_below(&self.root.join("files"))
            .filter_map(|path| fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn run(&self, run: Uuid) -> PathBuf {
        self.root.join("runs").join(format!("{run}.jsonl"))
    }

    fn snapshot(&self, backend: &str, snapshot: &SnapshotId) -> PathBuf {
        self.root
            .join("snapshots")
            .join(backend)
            .join(format!("{snapshot}.json"))
    }

    /// Where the content of a digest lies; none when it is no digest.
    pub(super) fn file(&self, digest: &str) -> Option<PathBuf> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.root.join("files").join(&digest[..2]).join(digest))
    }

    /// Lets what is added from now on stay until it is named.
    pub(super) fn adding(&self) -> Result<Adding, VmError> {
        let lock = self.lock_file()?;
        lock.lock_shared()
            .map_err(VmError::io("cannot lock", self.root.join("lock")))?;
        Ok(Adding { _lock: lock })
    }

    pub(super) fn lock_file(&self) -> Result<File, VmError> {
        directory(&self.root)?;
        private(&self.root.join("lock"))
    }

    /// An empty directory, which the next sweep removes if nobody else does.
    pub(super) fn temporary(&self) -> Result<PathBuf, VmError> {
        let path = self.root.join("tmp").join(Uuid::new_v4().to_string());
        directory(&path)?;
        Ok(path)
    }

    /// Takes a file over, and tells its digest.
    pub(super) fn take(&self, from: &Path) -> Result<String, VmError> {
        let mut hasher = blake3::Hasher::new();
        let mut file = File::open(from).map_err(VmError::io("cannot open", from))?;
        io::copy(&mut file, &mut hasher).map_err(VmError::io("cannot read", from))?;
        let digest = hasher.finalize().to_hex().to_string();
        let place = self.root.join("files").join(&digest[..2]);
        let size = file.metadata().map_err(VmError::io("cannot read", from))?.len();
        let there = fs::symlink_metadata(place.join(&digest));
        // Another size is damage; the same size is looked at when it is copied out.
        if !there.is_ok_and(|there| there.is_file() && there.len() == size) {
            file.set_permissions(Permissions::from_mode(0o600))
                .map_err(VmError::io("cannot move", from))?;
            let place = place.join(&digest);
            if hm_fs::rename_over(from, &place).is_err() {
                directory(place.parent().unwrap_or(&place))?;
                hm_fs::rename_over(from, &place).map_err(VmError::io("cannot move", from))?;
            }
        }
        Ok(digest)
    }

    /// Lists artifacts as a run's.
    pub(super) fn list(&self, run: Uuid, artifacts: &[Artifact]) -> Result<(), VmError> {
        let path = self.run(run);
        let failed = || VmError::io("cannot write", path.clone());
        let mut lines = Vec::new();
        for artifact in artifacts {
            let line = serde_json::to_vec(artifact).map_err(|error| failed()(error.into()))?;
            lines.extend_from_slice(&line);
            lines.push(b'\t');
            lines.extend_from_slice(hm_fs::line_digest(&line).as_bytes());
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        directory(&self.root.join("runs"))?;
        let mut file = private(&path)?;
        // Several steps may end at once.
        file.lock().map_err(failed())?;
        let before = file.metadata().map_err(failed())?.len();
        let written = file.write_all(&lines);
        if written.is_err() {
            // A list that ends in half a line would be a damaged one.
            let _ = file.set_len(before);
        }
        written.map_err(failed())
    }

    /// Remembers what the step left that made a snapshot.
    pub(super) fn remember(
        &self,
        backend: &str,
        snapshot: &SnapshotId,
        artifacts: &[Artifact],
    ) -> Result<(), VmError> {
        let path = self.snapshot(backend, snapshot);
        let failed = || VmError::io("cannot write", path.clone());
        directory(&self.root.join("snapshots").join(backend))?;
        let _adding = self.adding()?;
        let half = self.temporary()?.join("manifest");
        let text = serde_json::to_vec(artifacts).map_err(|error| failed()(error.into()))?;
        let written = private(&half)?
            .write_all(&hm_fs::seal(&text))
            .and_then(|()| hm_fs::rename_over(&half, &path));
        // A leftover goes with the next sweep.
        let _ = half.parent().map(fs::remove_dir_all);
        written.map_err(failed())
    }

    /// What the step left that made a snapshot.
    ///
    /// # Errors
    /// In plain words: why it cannot be listed again.
    pub(super) fn recall(&self, backend: &str, snapshot: &SnapshotId) -> Result<Vec<Artifact>, String> {
        let text = hm_fs::read(&self.snapshot(backend, snapshot)).map_err(|error| error.to_string())?;
        let text = text.ok_or("its artifacts are gone")?;
        let artifacts: Option<Vec<Artifact>> =
            hm_fs::unseal(&text).and_then(|text| serde_json::from_slice(text).ok());
        let artifacts = artifacts.ok_or("the list of its artifacts is damaged")?;
        let gone = artifacts.iter().find(|artifact| !self.has(artifact));
        match gone {
            Some(artifact) => Err(format!("its artifact {} is gone", artifact.path)),
            None => Ok(artifacts),
        }
    }

    fn has(&self, artifact: &Artifact) -> bool {
        let metadata = self
            .file(&artifact.digest)
            .and_then(|path| fs::metadata(path).ok());
        metadata.is_some_and(|metadata| metadata.is_file() && metadata.len() == artifact.bytes)
    }
}

/// What the lines of a run's list say, and whether one of them is not what was written. A last line that was cut short by a
/// kill is left out. An earlier hm wrote lines without a digest.
pub(super) fn parse_lines(lines: &[u8]) -> (Vec<Artifact>, bool) {
    let mut artifacts = Vec::new();
    let mut damaged = false;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let text = match line.iter().rposition(|byte| *byte == b'\t') {
            Some(tab) if hm_fs::line_digest(&line[..tab]).as_bytes() == &line[tab + 1..] => &line[..tab],
            Some(_) => b"",
            None => line,
        };
        match serde_json::from_slice(text) {
            Ok(artifact) => artifacts.push(artifact),
            Err(_) => damaged = true,
        }
    }
    (artifacts, damaged)
}

/// What is two levels below a directory.
pub(super) fn two_below(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries(root).flat_map(|directory| entries(&directory))
}

/// What is in a directory; nothing when it is not there.
pub(super) fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn directory(path: &Path) -> Result<(), VmError> {
    hm_fs::create_private(path).map_err(VmError::io("cannot create", path))
}

/// A file that is appended to, and that only its owner may read.
fn private(path: &Path) -> Result<File, VmError> {
    hm_fs::open_lock(path).map_err(VmError::io("cannot open", path))
}

/// The beginning of a file, or all of it when it has no more than `most` bytes.
pub(super) fn read_up_to(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > most {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(Some(content))
}
