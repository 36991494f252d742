//! What is kept beside the engine: which process lives, what a snapshot knows, sources by their digest.
//!
//! ```text
//! id             names this directory in labels
//! owners/ID      one per backend that lives, locked: what bears its label is in use
//! snapshots/ID   what a snapshot knows of the source
//! manifests/HEX  a source: every path with its digest and its time
//! sourced/KEY    the images that have a source laid into them, by the image below
//! seen/HEX        a file of an image, by its path, size and time: its digest
//! caches/KEY      a cache directory's volume
//! images/KEY      an image that hm had the engine fetch or take
//! locks/KEY       held while something is made that others may want too
//! ```

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use hm_vm::{Result, VmError};

/// How often a lock that another process holds is tried again.
const AGAIN: Duration = Duration::from_millis(25);

const DIRECTORIES: &[&str] = &[
    "owners",
    "snapshots",
    "manifests",
    "sourced",
    "caches",
    "images",
    "locks",
    "seen",
    "tmp",
];

/// The directory, and this backend's place in it.
#[derive(Debug)]
pub(super) struct State {
    root: PathBuf,
    /// Names the directory in labels.
    pub store: String,
    /// Names this backend in labels.
    pub owner: String,
    /// Held locked.
    _alive: File,
}

impl State {
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        for directory in DIRECTORIES {
            let path = root.join(directory);
            hm_fs::create_private(&path).map_err(VmError::io("cannot create", path))?;
        }
        let store = store_id(&root)?;
        let owner = Uuid::now_v7().simple().to_string();
        let path = root.join("owners").join(&owner);
        let alive = open_lock(&path)?;
        alive.lock().map_err(VmError::io("cannot lock", path))?;
        Ok(Self {
            root,
            store,
            owner,
            _alive: alive,
        })
    }

    pub(super) fn snapshot(&self, id: &str) -> PathBuf {
        self.root.join("snapshots").join(format!("{id}.json"))
    }

    pub(super) fn manifest(&self, digest: &str) -> PathBuf {
        self.root.join("manifests").join(digest)
    }

    pub(super) fn sourced(&self, key: &str) -> PathBuf {
        self.root.join("sourced").join(format!("{key}.json"))
    }

    pub(super) fn cache(&self, name: &str) -> PathBuf {
        self.cache_by_key(&key(name))
    }

    pub(super) fn cache_by_key(&self, key: &str) -> PathBuf {
        self.root.join("caches").join(format!("{key}.json"))
    }

    pub(super) fn image(&self, name: &str) -> PathBuf {
        self.image_by_key(&key(name))
    }

    pub(super) fn image_by_key(&self, key: &str) -> PathBuf {
        self.root.join("images").join(format!("{key}.json"))
    }

    /// Where the digests of files are, by what the file system says of them.
    pub(super) fn seen(&self) -> PathBuf {
        self.root.join("seen")
    }

    /// The names in one of the directories, without what follows the first dot.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>> {
        let path = self.root.join(directory);
        let entries = std::fs::read_dir(&path).map_err(VmError::io("cannot list", &path))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(VmError::io("cannot list", &path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push(name.split('.').next().unwrap_or_default().to_owned());
        }
        Ok(names)
    }

    /// Waits until no other process holds the lock of this name. Dropping the file gives it up.
    pub(super) async fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join("locks").join(key(name));
        let file = open_lock(&path)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(AGAIN).await,
                Err(TryLockError::Error(error)) => return Err(VmError::io("cannot lock", path)(error)),
            }
        }
    }

    /// Whether the process that made something still lives. Files of those that do not are removed.
    pub(super) fn lives(&self, owner: &str) -> bool {
        if owner == self.owner {
            return true;
        }
        let path = self.root.join("owners").join(owner);
        let Ok(file) = File::open(&path) else { return false };
        match file.try_lock() {
            Ok(()) => {
                let _ = std::fs::remove_file(path);
                false
            }
            Err(_) => true,
        }
    }

    /// The owners that have a file.
    pub(super) fn forget_the_dead(&self) -> Result<()> {
        for owner in self.names("owners")? {
            self.lives(&owner);
        }
        Ok(())
    }

    /// Writes a file whole or not at all.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = self.root.join("tmp").join(Uuid::new_v4().simple().to_string());
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| hm_fs::rename_over(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written.map_err(VmError::io("cannot write", path))
    }

    pub(super) fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| VmError::Other(format!("cannot write {}: {error}", path.display())))?;
        self.write(path, &hm_fs::seal(&bytes))
    }
}

/// Where a file's time says something.
impl State {
    /// Writes a file anew that keeps its modification time: it is no younger for what was added to it.
    pub(super) fn rewrite_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        self.write_json(path, value)?;
        if let Ok(written) = written {
            let _ = File::open(path).and_then(|file| file.set_modified(written));
        }
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.root.join("owners").join(&self.owner));
    }
}

/// A file's name for any text.
fn key(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// The content of a file, nothing when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    hm_fs::read(path).map_err(VmError::io("cannot read", path))
}

/// What a file says; nothing when it is not there, or damaged.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let content = hm_fs::read_sealed(path).map_err(VmError::io("cannot read", path))?;
    Ok(content.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    hm_fs::remove_any(path).map_err(VmError::io("cannot remove", path))
}

fn open_lock(path: &Path) -> Result<File> {
    hm_fs::open_lock(path).map_err(VmError::io("cannot open", path))
}

/// The directory's own id, given once.
fn store_id(root: &Path) -> Result<String> {
    let path = root.join("id");
    let temporary = root.join("tmp").join(Uuid::new_v4().simple().to_string());
    if !path.exists() {
        let id = Uuid::new_v4().simple().to_string();
        std::fs::write(&temporary, id).map_err(VmError::io("cannot write", &temporary))?;
        // Whoever comes first names it.
        let _ = std::fs::hard_link(&temporary, &path);
        let _ = std::fs::remove_file(&temporary);
    }
    std::fs::read_to_string(&path).map_err(VmError::io("cannot read", &path))
}
