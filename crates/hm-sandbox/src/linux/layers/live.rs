//! A layer in the making.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LayerStore;
use super::ops::FileOp;
use super::store::{Inner, create_dir_all};
use hm_fs::Marks;
use hm_vm::{Result, VmError};

/// The directories that a step's overlays write to. Dropping it throws them away.
#[derive(Debug)]
pub struct LiveLayer {
    store: Arc<Inner>,
    path: PathBuf,
    parts: Vec<String>,
    /// What each part is mounted above, topmost first.
    lower: BTreeMap<String, Vec<PathBuf>>,
}

impl LayerStore {
    /// An empty layer for a machine that begins, with an upper and a work directory for each part.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn begin(&self, parts: &[String]) -> Result<LiveLayer> {
        let path = self.inner.live_path()?;
        let live = LiveLayer {
            store: self.inner.clone(),
            path,
            parts: parts.to_vec(),
            lower: BTreeMap::new(),
        };
        create_dir(&live.path)?;
        live.create_parts(&live.upper_dir())?;
        // The upper directory's mode is the mount's: a caller's umask is not to close a step's `/`.
        for part in &live.parts {
            let upper = live.upper(part);
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&upper, open).map_err(VmError::io("cannot open up", upper))?;
        }
        live.create_parts(&live.work_dir())?;
        Ok(live)
    }

    /// Throws a layer away, and deletes it in the background.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn discard(&self, live: LiveLayer) -> Result<()> {
        // Its drop finds nothing to do then.
        self.inner.trash.discard(&live.path)
    }
}

impl LiveLayer {
    /// Whether nothing was written. A directory that cannot be looked into counts as written to.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.parts
            .iter()
            .all(|part| std::fs::read_dir(self.upper(part)).is_ok_and(|mut entries| entries.next().is_none()))
    }

    /// Notes what a part is mounted above, topmost first: sealing it needs that.
    pub fn lies_above(&mut self, part: &str, lower: Vec<PathBuf>) {
        self.lower.insert(part.to_owned(), lower);
    }

    /// The parts that it was begun with.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The upper directory of a part.
    #[must_use]
    pub fn upper(&self, part: &str) -> PathBuf {
        self.upper_dir().join(part)
    }

    /// The work directory of a part, for one mount: after a volatile one the kernel refuses it.
    #[must_use]
    pub fn work(&self, part: &str) -> PathBuf {
        self.work_dir().join(part)
    }

    pub(super) fn upper_dir(&self) -> PathBuf {
        self.path.join("upper")
    }

    fn work_dir(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Makes a part stand for itself, once nothing writes to it any more.
    pub(in crate::linux) fn settle(&self, part: &str) -> Result<()> {
        // Without root there is nothing to settle.
        let Some(lower) = self
            .lower
            .get(part)
            .filter(|_| Marks::of_process() == Marks::Trusted)
        else {
            return Ok(());
        };
        let op = FileOp::Settle {
            upper: self.upper(part).into(),
            work: self.work(part).into(),
            lower: lower.iter().map(|lower| lower.clone().into()).collect(),
            sealed: self.store.root.clone().into(),
        };
        self.store.run_op(op).map(drop)
    }

    fn create_parts(&self, dir: &Path) -> Result<()> {
        create_dir(dir)?;
        self.parts.iter().try_for_each(|part| create_dir(&dir.join(part)))
    }

    /// The parts that something was written to; the others' directories go.
    pub(super) fn written_parts(&self) -> Result<Vec<String>> {
        let mut written = Vec::new();
        for part in &self.parts {
            let upper = self.upper(part);
            // One that is not empty, or that this process may not look into, stays.
            match std::fs::remove_dir(&upper) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => written.push(part.clone()),
                Err(error) => return Err(VmError::io("cannot seal", upper)(error)),
            }
        }
        written.sort();
        Ok(written)
    }
}

impl Drop for LiveLayer {
    fn drop(&mut self) {
        if let Err(error) = self.store.trash.discard(&self.path) {
            tracing::warn!(%error, "cannot throw a layer away; the next run tries again");
        }
    }
}

fn create_dir(path: &Path) -> Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                create_dir_all(parent)?;
            }
            std::fs::create_dir(path).map_err(VmError::io("cannot create", path))
        }
        created => created.map_err(VmError::io("cannot create", path)),
    }
}
