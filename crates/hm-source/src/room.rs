//! One worktree's place in the store: its bases, deltas and manifests, and the locks that guard them.
//!
//! Everything is made in `tmp` and renamed into place, by whoever holds the worktree's lock. A base or delta
//! in use has a `lease` that its user holds locked; nobody removes it meanwhile.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use uuid::Uuid;

use super::error::SourceError;
use super::manifest::{Header, Manifest};
use super::tree::Tree;

/// How many frozen sources of one worktree can be opened again.
const KEPT: usize = 20;

/// A frozen source that was found on disk, with the leases on its layers.
#[derive(Debug)]
pub(super) struct Found {
    pub id: Uuid,
    pub tree: Tree,
    pub base: PathBuf,
    pub delta: Option<PathBuf>,
    pub leases: Vec<File>,
}

/// One worktree's place in the store.
#[derive(Debug)]
pub(super) struct Room {
    pub key: String,
    path: PathBuf,
    lock: PathBuf,
}

impl Room {
    pub fn new(root: &Path, key: String) -> Self {
        Self {
            path: root.join("trees").join(&key),
            lock: root.join("locks").join(&key),
            key,
        }
    }

    /// Makes its directories.
    pub fn create(&self, worktree: &[u8]) -> Result<(), SourceError> {
        for name in ["bases", "deltas", "frozen", "tmp"] {
            let path = self.path.join(name);
            hm_fs::create_private(&path).map_err(SourceError::io("cannot create", &path))?;
        }
        let origin = self.path.join("origin");
        if origin.exists() {
            return Ok(());
        }
        self.write(&origin, worktree)
    }

    /// The worktree it belongs to.
    pub fn origin(&self) -> Option<Vec<u8>> {
        fs::read(self.path.join("origin")).ok()
    }

    /// A directory for files that are put together, and lie nowhere else.
    pub fn made(&self) -> Result<PathBuf, SourceError> {
        let path = self.path.join("made");
        fs::create_dir_all(&path).map_err(SourceError::io("cannot create", &path))?;
        Ok(path)
    }

    fn open_lock(&self) -> Result<File, SourceError> {
        hm_fs::open_lock(&self.lock).map_err(SourceError::io("cannot open the lock", &self.lock))
    }

    /// Takes the worktree's lock, which ends with the file; waits for whoever has it.
    pub fn lock(&self) -> Result<File, SourceError> {
        let file = self.open_lock()?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(SourceError::io("cannot lock", &self.lock)(error)),
            }
        }
    }

    /// The worktree's lock, unless somebody has it.
    pub fn try_lock(&self) -> Result<Option<File>, SourceError> {
        let file = self.open_lock()?;
        Ok(rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .is_ok()
            .then_some(file))
    }

    pub fn base(&self, id: Uuid) -> PathBuf {
        self.path.join("bases").join(id.to_string())
    }

    pub fn delta(&self, id: Uuid) -> PathBuf {
        self.path.join("deltas").join(id.to_string())
    }

    fn frozen(&self, id: Uuid) -> PathBuf {
        self.path.join("frozen").join(id.to_string())
    }

    /// A name for something that is being made.
    fn temporary(&self) -> PathBuf {
        self.path.join("tmp").join(Uuid::now_v7().to_string())
    }

    /// A directory for something that is being made.
    pub fn temporary_directory(&self) -> Result<PathBuf, SourceError> {
        let path = self.temporary();
        fs::create_dir(&path).map_err(SourceError::io("cannot create", &path))?;
        Ok(path)
    }

    /// Which frozen source is the newest.
    pub fn current(&self) -> Option<Uuid> {
        let text = fs::read_to_string(self.path.join("current")).ok()?;
        Uuid::parse_str(text.trim()).ok()
    }

    /// The newest frozen source; `None` when there is none or when it is damaged.
    pub fn newest(&self) -> Option<Found> {
        // Another process may replace it and remove its layers between two of these reads.
        for _ in 0..64 {
            let id = self.current()?;
            if let Some(found) = self.find(id) {
                return Some(found);
            }
            if self.current() == Some(id) {
                return None;
            }
        }
        None
    }

    /// A frozen source by its id.
    pub fn find(&self, id: Uuid) -> Option<Found> {
        let difference = Manifest::parse(fs::read(self.frozen(id)).ok()?)?;
        let base = self.base(difference.header().base);
        let delta = difference.header().delta.map(|delta| self.delta(delta));
        let mut leases = vec![lease(&base)?];
        if let Some(delta) = &delta {
            leases.push(lease(delta)?);
        }
        let manifest = Manifest::parse(fs::read(base.join("manifest")).ok()?)?;
        Some(Found {
            id,
            tree: Tree {
                base: Arc::new(manifest),
                difference: Arc::new(difference),
            },
            base,
            delta,
            leases,
        })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
        let temporary = self.temporary();
        fs::write(&temporary, bytes).map_err(SourceError::io("cannot write", &temporary))?;
        hm_fs::rename_over(&temporary, path).map_err(SourceError::io("cannot write", path))
    }

    /// Stores what is known of a frozen source and makes it the newest.
    pub fn store(&self, id: Uuid, difference: &Manifest) -> Result<(), SourceError> {
        self.write(&self.frozen(id), difference.as_bytes())?;
        if self.current() == Some(id) {
            return Ok(());
        }
        self.write(&self.path.join("current"), id.to_string().as_bytes())
    }

    /// Puts a layer that was made at `temporary` into its place and returns the lease on it.
    pub fn publish(&self, temporary: &Path, place: &Path) -> Result<File, SourceError> {
        let lease = temporary.join("lease");
        let file = File::create(&lease).map_err(SourceError::io("cannot create", &lease))?;
        rustix::fs::flock(&file, FlockOperation::LockShared)
            .map_err(SourceError::io("cannot lock", &lease))?;
        fs::rename(temporary, place).map_err(SourceError::io("cannot put into place", place))?;
        Ok(file)
    }

    /// Removes what was left half made. Only for whoever holds the lock.
    pub fn clear_temporary(&self) -> Result<(), SourceError> {
        for name in names(&self.path.join("tmp")) {
            remove(&self.path.join("tmp").join(name))?;
        }
        Ok(())
    }

    /// Removes the oldest frozen sources, and the layers that none refers to and nobody uses. Only for
    /// whoever holds the lock.
    pub fn prune(&self, keep: usize) -> Result<(), SourceError> {
        let current = self.current();
        let mut frozen: Vec<Uuid> = names(&self.path.join("frozen"))
            .iter()
            .filter_map(|name| Uuid::parse_str(name).ok())
            .collect();
        // These ids sort by the time at which they were given.
        frozen.sort_unstable();
        frozen.retain(|id| Some(*id) != current);
        let extra = frozen.len().saturating_sub(keep.saturating_sub(1));
        for id in frozen.drain(..extra) {
            remove(&self.frozen(id))?;
        }
        if keep > 0 {
            frozen.extend(current);
        } else if current.is_some() {
            remove(&self.path.join("current"))?;
            if let Some(current) = current {
                remove(&self.frozen(current))?;
            }
        }
        let mut used = HashSet::new();
        for id in frozen {
            let header = fs::read(self.frozen(id)).ok().as_deref().and_then(Header::parse);
            if let Some(header) = header {
                used.insert(self.base(header.base));
                used.extend(header.delta.map(|delta| self.delta(delta)));
            }
        }
        for kind in ["bases", "deltas"] {
            for name in names(&self.path.join(kind)) {
                let path = self.path.join(kind).join(name);
                if !used.contains(&path) {
                    self.remove_layer(&path)?;
                }
            }
        }
        Ok(())
    }

    /// As [`Self::prune`], keeping as many as can be opened again.
    pub fn prune_old(&self) -> Result<(), SourceError> {
        self.prune(KEPT)
    }

    /// Whether somebody uses a layer of the newest source: removing that would only make the next freeze copy
    /// everything again, beside what is there.
    pub fn is_used(&self) -> bool {
        let newest = self.current().and_then(|id| fs::read(self.frozen(id)).ok());
        newest.as_deref().and_then(Header::parse).is_some_and(|header| {
            is_leased(&self.base(header.base))
                || header.delta.is_some_and(|delta| is_leased(&self.delta(delta)))
        })
    }

    fn remove_layer(&self, path: &Path) -> Result<(), SourceError> {
        let lease = hm_fs::open_existing(&path.join("lease"));
        let is_used = |lease| rustix::fs::flock(lease, FlockOperation::NonBlockingLockExclusive).is_err();
        if lease.as_ref().is_ok_and(is_used) {
            return Ok(());
        }
        // Renamed first, so that nobody ever finds a part of it.
        let temporary = self.temporary();
        fs::rename(path, &temporary).map_err(SourceError::io("cannot remove", path))?;
        // Held until here: whoever waited for it now sees that the layer is gone.
        drop(lease);
        remove(&temporary)
    }

    /// Removes the directory when no layer is left in it. Only for whoever holds the lock.
    pub fn remove_if_empty(&self) -> Result<(), SourceError> {
        if names(&self.path.join("bases")).is_empty() && names(&self.path.join("deltas")).is_empty() {
            remove(&self.path)?;
        }
        Ok(())
    }
}

/// The names in a directory that are text; ours all are.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether somebody holds the lease on a layer now.
fn is_leased(layer: &Path) -> bool {
    let lease = hm_fs::open_existing(&layer.join("lease"));
    lease.is_ok_and(|lease| rustix::fs::flock(lease, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// Takes the lease on a layer, after whoever is looking at it or removing it; `None` when it is gone.
fn lease(layer: &Path) -> Option<File> {
    let path = layer.join("lease");
    if !layer.join("tree").is_dir() {
        return None;
    }
    let file = hm_fs::open_existing(&path).ok()?;
    rustix::fs::flock(&file, FlockOperation::LockShared).ok()?;
    // It may have been removed between the two.
    let (held, there) = (file.metadata().ok()?, path.metadata().ok()?);
    (held.ino() == there.ino() && held.dev() == there.dev()).then_some(file)
}

/// Removes a file or a whole tree; one that is not there is no error.
pub(super) fn remove(path: &Path) -> Result<(), SourceError> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(SourceError::io("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}
