//! Roots: the overlays and the exposed directories of a machine, mounted where every step of the run can be put
//! into them.
//!
//! They are mounted in the supervisor's own mount namespace, of which each step gets a copy. So a machine that runs
//! several commands, or one that takes over from a machine that wrote nothing, finds its root mounted already:
//! mounting overlays is most of what a step costs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, UnmountFlags};

use super::mounts::{Place, bind, bind_read_only, mount, overlay, remount_read_only, told};
use crate::linux::protocol::{Identity, Root, Setup};

#[derive(Debug)]
pub(super) struct Roots {
    stage: PathBuf,
    /// A read-only `/dev` with the harmless devices.
    dev: PathBuf,
    mounted: HashMap<u64, Result<PathBuf, String>>,
}

/// A directory of the stage on which a step mounts what it alone has.
pub(super) const PRIVATE: &str = "private";

const DEVICES: &[&str] = &["full", "null", "random", "tty", "urandom", "zero"];
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

impl Roots {
    /// Prepares what all steps share.
    pub(super) fn prepare(setup: &Setup) -> io::Result<Self> {
        let (stage, dev) = (setup.stage.clone(), setup.stage.join("dev"));
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", &stage, "tmpfs", flags, "mode=0755,size=16m")?;
        std::fs::create_dir(&dev)?;
        std::fs::create_dir(stage.join(PRIVATE))?;
        mount(
            "tmpfs",
            &dev,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            "mode=0755,size=64k",
        )?;
        for device in DEVICES {
            let node = dev.join(device);
            let host = Path::new("/dev").join(device);
            if setup.identity == Identity::Root {
                // Nodes of our own are fewer mounts for each step to copy.
                let host = rustix::fs::stat(&host)?;
                let mode = Mode::from_raw_mode(0o666);
                rustix::fs::mknodat(CWD, &node, FileType::CharacterDevice, mode, host.st_rdev)?;
                rustix::fs::chmod(&node, mode)?;
            } else {
                std::fs::File::create(&node)?;
                bind(&host, &node)?;
                // It is the host's own device file: a step's `chmod 600 /dev/null` must not reach it.
                remount_read_only(&node, MountFlags::NOSUID)?;
            }
        }
        for (target, name) in DEVICE_LINKS {
            std::os::unix::fs::symlink(target, dev.join(name))?;
        }
        for directory in ["pts", "shm"] {
            std::fs::create_dir(dev.join(directory))?;
        }
        let read_only = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC;
        rustix::mount::mount_remount(&dev, read_only, c"")?;
        Ok(Self {
            stage,
            dev,
            mounted: HashMap::new(),
        })
    }

    /// Mounts a root. Whoever is put into it hears of an error.
    pub(super) fn mount(&mut self, id: u64, root: &Root) {
        let mounted = self.try_mount(id, root).map_err(|error| error.to_string());
        self.mounted.insert(id, mounted);
    }

    fn try_mount(&self, id: u64, root: &Root) -> io::Result<PathBuf> {
        let place = self.stage.join(id.to_string());
        std::fs::create_dir(&place)?;
        let mounted = (|| {
            for layer in &root.overlays {
                overlay(&place, layer)?;
            }
            for exposed in &root.binds {
                bind_read_only(&place, exposed)?;
            }
            let dev = Place::find(&place, Path::new("dev"))?;
            rustix::mount::mount_bind_recursive(&self.dev, dev.path()).map_err(told("cannot mount /dev"))
        })();
        if mounted.is_err() {
            let _ = unmount(&place);
        }
        mounted.map(|()| place)
    }

    /// Unmounts a root that no step is in.
    pub(super) fn unmount(&mut self, id: u64) {
        if let Some(Ok(place)) = self.mounted.remove(&id) {
            // What is left goes with the supervisor.
            let _ = unmount(&place);
        }
    }

    /// Where a root is mounted.
    pub(super) fn place(&self, id: u64) -> Result<&Path, String> {
        match self.mounted.get(&id) {
            Some(Ok(place)) => Ok(place),
            Some(Err(error)) => Err(error.clone()),
            None => Err("its root is not mounted".into()),
        }
    }

    /// Where roots are mounted.
    pub(super) fn stage(&self) -> &Path {
        &self.stage
    }

    /// The shared `/dev`.
    pub(super) fn dev(&self) -> &Path {
        &self.dev
    }
}

fn unmount(place: &Path) -> io::Result<()> {
    rustix::mount::unmount(place, UnmountFlags::DETACH)?;
    std::fs::remove_dir(place)
}
