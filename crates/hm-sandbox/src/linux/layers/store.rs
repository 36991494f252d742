//! Where layers lie, and the locks that guard them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::chain::{LayerMeta, LayerRef, StoredSnapshot};
use super::ops::{FileOp, FileOps, FileReply, perform};
use super::shadow::Verdicts;
use super::trash::Trash;
use hm_fs::Marks;
use hm_vm::{Result, VmError};

/// The layers of one sandbox backend. Cheap to open and to clone; every method may be called from many
/// threads and many processes at once. Dropping the last clone removes what it has in the making.
#[derive(Debug, Clone)]
pub struct LayerStore {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    pub(super) files: Arc<dyn FileOps>,
    pub(super) trash: Trash,
    run: Mutex<Option<RunDir>>,
    next: AtomicU64,
    layers: Mutex<HashMap<String, Arc<LayerMeta>>>,
    pub(super) verdicts: Mutex<Verdicts>,
    pub(super) snapshots: Mutex<HashMap<String, Arc<StoredSnapshot>>>,
}

/// This process's directory of layers in the making.
#[derive(Debug)]
struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl LayerStore {
    /// The store at `root`, created when first written to. `files` does what this process may not do itself.
    ///
    /// # Errors
    /// None so far.
    pub fn open(root: &Path, files: Arc<dyn FileOps>) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                trash: Trash::new(root.join("trash"), files.clone()),
                files,
                run: Mutex::default(),
                next: AtomicU64::new(0),
                layers: Mutex::default(),
                verdicts: Mutex::default(),
                snapshots: Mutex::default(),
            }),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Waits until everything that was thrown away is deleted.
    pub fn flush(&self) {
        self.inner.trash.flush();
    }
}

impl Inner {
    /// A new path in this process's own directory.
    pub(super) fn live_path(&self) -> Result<PathBuf> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = match run.as_ref() {
            Some(run) => run.path.clone(),
            None => run.insert(self.begin_run()?).path.clone(),
        };
        Ok(dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    fn begin_run(&self) -> Result<RunDir> {
        // Whoever reclaims takes a run without a locked file for dead: it must not see this one half made.
        let _shared = self.lock_shared()?;
        let path = self.root.join("live").join(new_id());
        create_dir_all(&path)?;
        let lock = open_lock(&path.join("lock"))?;
        lock.lock()
            .map_err(VmError::io("cannot lock", path.join("lock")))?;
        Ok(RunDir { path, _lock: lock })
    }

    /// The name of this process's own directory, once it has one.
    pub(super) fn run_path(&self) -> Option<PathBuf> {
        self.run
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|run| run.path.clone())
    }

    pub(super) fn layer_dir(&self, id: &str) -> PathBuf {
        self.root.join("layers").join(id)
    }

    pub(super) fn snapshot_path(&self, id: &str) -> PathBuf {
        self.root.join("snapshots").join(format!("{id}.json"))
    }

    /// While this is held, no layer is taken away.
    pub(super) fn lock_shared(&self) -> Result<File> {
        let path = self.root.join("lock");
        let lock = open_lock(&path)?;
        lock.lock_shared().map_err(VmError::io("cannot lock", path))?;
        Ok(lock)
    }

    /// While this is held, no snapshot is written and no run begins.
    pub(super) fn lock_exclusive(&self) -> Result<File> {
        let path = self.root.join("lock");
        let lock = open_lock(&path)?;
        lock.lock().map_err(VmError::io("cannot lock", path))?;
        Ok(lock)
    }

    /// A layer by its name, from memory or from its file.
    pub(super) fn layer(&self, id: &str) -> Result<LayerRef> {
        let known = self
            .layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned();
        if let Some(meta) = known {
            return Ok(self.layer_ref(id, meta));
        }
        let path = self.layer_dir(id).join(META);
        let stored: Option<StoredMeta> = hm_fs::read_sealed(&path)
            .map_err(VmError::io("cannot read", &path))?
            .and_then(|bytes| postcard::from_bytes(&bytes).ok());
        // One that is not there was damaged as well: a layer is never without it.
        let stored = stored.filter(|stored| stored.marks == marks());
        Ok(self.remember_layer(id, stored.ok_or_else(|| corrupt(&path))?.meta))
    }

    /// Writes what is to be known of a layer into its directory.
    pub(super) fn write_meta(dir: &Path, meta: &LayerMeta) -> Result<()> {
        let stored = StoredMeta {
            meta: meta.clone(),
            marks: marks(),
        };
        let bytes = postcard::to_stdvec(&stored)
            .map_err(|error| VmError::Other(format!("cannot store a layer: {error}")))?;
        let path = dir.join(META);
        std::fs::write(&path, hm_fs::seal(&bytes)).map_err(VmError::io("cannot write", path))
    }

    pub(super) fn remember_layer(&self, id: &str, meta: LayerMeta) -> LayerRef {
        let meta = Arc::new(meta);
        self.layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned(), meta.clone());
        self.layer_ref(id, meta)
    }

    pub(super) fn forget_layer(&self, id: &str) {
        self.layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn layer_ref(&self, id: &str, meta: Arc<LayerMeta>) -> LayerRef {
        LayerRef {
            id: id.into(),
            dir: self.layer_dir(id).into(),
            meta,
        }
    }

    /// Does a file operation here, or where it is allowed when it is not here.
    pub(super) fn run_op(&self, op: FileOp) -> Result<FileReply> {
        match perform(op.clone()) {
            Ok(FileReply::Measured { denied: true, .. }) => self.files.run(op),
            Err(VmError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                self.files.run(op)
            }
            done => done,
        }
    }
}

impl Inner {
    /// Merges layers here, or where it is allowed when it is not here.
    pub(super) fn run_merge(&self, op: &FileOp) -> Result<()> {
        match perform(op.clone()) {
            Err(VmError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                if let FileOp::Merge { destination, .. } = op {
                    self.trash.discard(destination.as_ref())?;
                }
                self.files.run(op.clone()).map(drop)
            }
            done => done.map(drop),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let run = self.run.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(run) = run
            && let Err(error) = self.trash.discard(&run.path)
        {
            tracing::warn!(%error, "cannot throw this run's layers away; the next run tries again");
        }
    }
}

/// The file in a layer that says what is to be known of it.
pub(super) const META: &str = "layer.bin";

/// The file in a layer that holds its size, once measured.
pub(super) const SIZE: &str = "size";

/// The marks of a layer in its file: whoever uses others would see what the layer hides.
fn marks() -> u32 {
    match Marks::of_process() {
        Marks::User => 1,
        Marks::Trusted => 2,
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct StoredMeta {
    meta: LayerMeta,
    marks: u32,
}

pub(super) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

pub(super) fn corrupt(path: &Path) -> VmError {
    VmError::Corrupt {
        path: path.to_owned(),
        reason: "it is not what was written there; `hm cache clean` removes it".into(),
    }
}

pub(super) fn create_dir_all(path: &Path) -> Result<()> {
    hm_fs::create_private(path).map_err(VmError::io("cannot create", path))
}

/// Renames, creating the target's parent when it is missing.
pub(super) fn rename_into(from: &Path, to: &Path) -> Result<()> {
    let renamed = match std::fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = to.parent() {
                create_dir_all(parent)?;
            }
            std::fs::rename(from, to)
        }
        renamed => renamed,
    };
    renamed.map_err(VmError::io("cannot rename", from))
}

pub(super) fn entries(dir: &Path) -> Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => Ok(entries),
        Err(error) if hm_fs::is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(VmError::io("cannot list", dir)(error)),
    }
}

fn open_lock(path: &Path) -> Result<File> {
    hm_fs::open_lock(path).map_err(VmError::io("cannot open", path))
}
