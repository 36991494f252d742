//! A backend's supervisor: started by the first who needs it, asked by all.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::client::Supervisor;
use super::idmap::{self, IdRanges};
use super::layers::{FileOp, FileOps, FileReply};
use super::protocol::{Identity, Setup};
use super::tarball;
use crate::surface::SandboxConfig;
use hm_vm::{Result, VmError};

#[derive(Debug)]
pub(super) struct Supervision {
    setup: Setup,
    ranges: Option<IdRanges>,
    supervisor: Mutex<Option<Arc<Supervisor>>>,
    started: AtomicU64,
}

impl Supervision {
    /// Starts nothing yet.
    pub(super) fn new(config: &SandboxConfig, root: &Path) -> Self {
        let (identity, ranges) = idmap::identity(&config.path);
        let setup = Setup {
            identity,
            data_dir: config.data_dir.clone(),
            stage: root.join("stage"),
            pasta: idmap::find_program("pasta", &config.path),
        };
        Self {
            setup,
            ranges,
            supervisor: Mutex::default(),
            started: AtomicU64::new(0),
        }
    }

    /// Whether this process may do to a step's files what it likes.
    pub(super) fn is_root(&self) -> bool {
        self.setup.identity == Identity::Root
    }

    /// Who steps are.
    pub(super) fn identity(&self) -> Identity {
        self.setup.identity
    }

    /// A path as the supervisor, which works in the data directory, may name it: mount options have little room.
    pub(super) fn short(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.setup.data_dir).unwrap_or(path).to_owned()
    }

    /// How many supervisors were started.
    pub(super) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The supervisor.
    pub(super) fn supervisor(&self) -> Result<Arc<Supervisor>> {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = supervisor.as_ref() {
            return Ok(running.clone());
        }
        let root: Option<PathBuf> = self.setup.stage.parent().map(|root| root.join("empty"));
        for directory in [Some(self.setup.stage.clone()), root].into_iter().flatten() {
            hm_fs::create_private(&directory)
                // Steps may see it, whoever they run as.
                .and_then(|()| std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)))
                .map_err(VmError::io("cannot create", &directory))?;
        }
        // As root, what steps wrote has setuid programs in it: other users must not reach them.
        if let Some(root) = self.setup.stage.parent() {
            std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700))
                .map_err(VmError::io("cannot set the permissions of", root))?;
        }
        let started = Arc::new(Supervisor::start(self.setup.clone(), self.ranges.as_ref())?);
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(supervisor.insert(started).clone())
    }

    /// Unpacks a tarball where the owners of its files exist.
    pub(super) fn unpack(&self, order: tarball::Unpack) -> Result<()> {
        if self.is_root() {
            tarball::unpack(&order)
        } else {
            self.supervisor()?.unpack(order)
        }
    }

    /// Ends the supervisor, and with it every command.
    pub(super) fn end(&self) {
        let supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(supervisor) = supervisor {
            supervisor.end();
        }
    }
}

impl FileOps for Supervision {
    fn run(&self, op: FileOp) -> Result<FileReply> {
        self.supervisor()?.files(op)
    }
}
