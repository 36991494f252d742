//! What is thrown away: out of sight at once by a rename, deleted in the background.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::ops::{FileOp, FileOps, FileReply, perform};
use hm_vm::{Result, VmError};

/// The trash of one store.
#[derive(Debug)]
pub(super) struct Trash {
    dir: PathBuf,
    files: Arc<dyn FileOps>,
    worker: Mutex<Option<(Sender<PathBuf>, JoinHandle<()>)>>,
}

impl Trash {
    pub(super) fn new(dir: PathBuf, files: Arc<dyn FileOps>) -> Self {
        Self {
            dir,
            files,
            worker: Mutex::default(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Renames a directory into the trash; nothing when it is not there.
    pub(super) fn take(&self, path: &Path) -> Result<Option<PathBuf>> {
        let target = self.dir.join(uuid::Uuid::now_v7().simple().to_string());
        let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let moved = match std::fs::rename(path, &target) {
            // Where there is nothing to take, the store may be gone, and stays so.
            Err(error) if gone(&error) && !self.dir.exists() && path.exists() => {
                hm_fs::create_private(&self.dir).map_err(VmError::io("cannot create", &self.dir))?;
                std::fs::rename(path, &target)
            }
            moved => moved,
        };
        match moved {
            Ok(()) => Ok(Some(target)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(VmError::io("cannot throw away", path)(error)),
        }
    }

    /// Throws a directory away and deletes it in the background.
    pub(super) fn discard(&self, path: &Path) -> Result<()> {
        let Some(path) = self.take(path)? else {
            return Ok(());
        };
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            let (sender, receiver) = channel();
            let files = self.files.clone();
            let thread = std::thread::Builder::new().name("hm-trash".into());
            let thread = thread.spawn(move || empty(&receiver, files.as_ref()));
            *worker = Some((
                sender,
                thread.map_err(VmError::io("cannot start a thread to empty", &self.dir))?,
            ));
        }
        if let Some((sender, _)) = worker.as_ref() {
            // The thread ends only after this sender is dropped.
            let _ = sender.send(path);
        }
        Ok(())
    }

    /// Deletes a tree now; returns the bytes that it freed.
    pub(super) fn delete(&self, path: &Path) -> Result<u64> {
        delete(self.files.as_ref(), path)
    }

    /// Waits until all that was discarded is deleted.
    pub(super) fn flush(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = worker {
            drop(sender);
            let _ = thread.join();
        }
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.flush();
    }
}

fn empty(receiver: &Receiver<PathBuf>, files: &dyn FileOps) {
    for path in receiver {
        if let Err(error) = delete(files, &path) {
            tracing::warn!(%error, "cannot delete what was thrown away; the next run tries again");
        }
    }
}

fn delete(files: &dyn FileOps, path: &Path) -> Result<u64> {
    if path.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
        // Something else lay in a directory's place.
        hm_fs::remove_any(path).map_err(VmError::io("cannot remove", path))?;
        return Ok(0);
    }
    let op = FileOp::RemoveTree { path: path.into() };
    let FileReply::Removed { freed, denied } = perform(op.clone())? else {
        return Ok(0);
    };
    if !denied {
        return Ok(freed);
    }
    match files.run(op)? {
        FileReply::Removed {
            freed: rest,
            denied: false,
        } => Ok(freed + rest),
        _ => Err(VmError::io("cannot remove", path)(
            std::io::ErrorKind::PermissionDenied.into(),
        )),
    }
}
