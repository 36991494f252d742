//! One cache directory under its lock: which generation is current, and which can go.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::linux::layers::LayerStore;
use hm_vm::{Result, VmError};

/// How a name that is being made begins.
const UNFINISHED: &str = "new-";

/// A generation that is kept for as long as this lives.
#[derive(Debug)]
pub(super) struct Leased {
    pub id: String,
    pub files: PathBuf,
    _lease: File,
}

/// A cache directory's own directory, locked.
#[derive(Debug)]
pub(super) struct Locked {
    directory: PathBuf,
    lock: File,
}

impl Locked {
    /// Locks it to begin with a generation; makes it when it is not there.
    pub(super) fn shared(directory: &Path) -> Result<Self> {
        Self::lock(directory, File::lock_shared)
    }

    /// Locks it to exchange generations; makes it when it is not there.
    pub(super) fn exclusive(directory: &Path) -> Result<Self> {
        Self::lock(directory, File::lock)
    }

    fn lock(directory: &Path, wait: impl Fn(&File) -> std::io::Result<()>) -> Result<Self> {
        let path = directory.join("lock");
        loop {
            hm_fs::create_private(directory).map_err(VmError::io("cannot create", directory))?;
            let lock = match hm_fs::open_lock_file(&path) {
                // Removed since it was made.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(VmError::io("cannot open", &path))?,
            };
            wait(&lock).map_err(VmError::io("cannot lock", &path))?;
            // Whoever had the lock may have removed it all.
            let held = lock.metadata().map_err(VmError::io("cannot read", &path))?;
            let there = std::fs::metadata(&path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
                return Ok(Self {
                    directory: directory.to_owned(),
                    lock,
                });
            }
        }
    }

    /// Notes that it is used now.
    pub(super) fn touch(&self) {
        // A cache directory that is not marked is one that was used longer ago.
        let _ = self.lock.set_modified(SystemTime::now());
    }

    /// The current generation; nothing where none was kept yet.
    pub(super) fn current(&self) -> Result<Option<Leased>> {
        let Some(id) = current(&self.directory) else {
            return Ok(None);
        };
        let generation = self.generation(&id);
        let path = generation.join("lease");
        let lease = match File::open(&path) {
            // Its disk lost it: the next one that is kept takes its place.
            Err(error) if hm_fs::is_absent(&error) => return Ok(None),
            opened => opened.map_err(VmError::io("cannot open", &path))?,
        };
        lease.lock_shared().map_err(VmError::io("cannot lock", path))?;
        Ok(Some(Leased {
            id,
            files: generation.join("files"),
            _lease: lease,
        }))
    }

    /// Makes what was written, above what is current, the next generation. Needs the exclusive lock.
    pub(super) fn advance(&self, layers: &LayerStore, written: PathBuf) -> Result<()> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let unfinished = self.generation(&format!("{UNFINISHED}{id}"));
        hm_fs::create_private(&unfinished).map_err(VmError::io("cannot create", &unfinished))?;
        let below = self.current()?;
        let make = || {
            let lease = unfinished.join("lease");
            File::create(&lease).map_err(VmError::io("cannot create", lease))?;
            let sources = std::iter::once(written).chain(below.as_ref().map(|below| below.files.clone()));
            layers.merge_all(sources.collect(), &unfinished.join("files"))?;
            let finished = self.generation(&id);
            std::fs::rename(&unfinished, &finished).map_err(VmError::io("cannot rename", &unfinished))?;
            let (temporary, path) = (self.directory.join("current.new"), self.directory.join("current"));
            std::fs::write(&temporary, hm_fs::seal(id.as_bytes()))
                .and_then(|()| hm_fs::rename_over(&temporary, &path))
                .map_err(VmError::io("cannot write", path))
        };
        let made = make();
        if made.is_err() {
            let _ = layers.throw_away(&unfinished);
        }
        made
    }

    /// Throws away the generations that are neither current nor used, and what was not finished. Needs the exclusive
    /// lock.
    pub(super) fn tidy(&self, layers: &LayerStore) -> Result<()> {
        let current = current(&self.directory);
        for entry in std::fs::read_dir(self.directory.join("g"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if current.as_ref() != Some(&name) && (name.starts_with(UNFINISHED) || is_unused(&entry.path())) {
                layers.throw_away(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether a command uses one of the generations. Needs the exclusive lock.
    pub(super) fn is_used(&self) -> bool {
        let generations = std::fs::read_dir(self.directory.join("g"));
        let mut generations = generations.into_iter().flatten().flatten();
        generations.any(|generation| !is_unused(&generation.path()))
    }

    fn generation(&self, id: &str) -> PathBuf {
        self.directory.join("g").join(id)
    }
}

/// The name of the current generation.
pub(super) fn current(directory: &Path) -> Option<String> {
    let content = hm_fs::read_sealed(&directory.join("current")).ok()??;
    let id = String::from_utf8(content).ok()?;
    let is_name = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then_some(id)
}

fn is_unused(generation: &Path) -> bool {
    match File::open(generation.join("lease")) {
        Ok(lease) => lease.try_lock().is_ok(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
