//! A step's way into its root: the file systems that belong to its own namespaces, and the change of root.

use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use super::cgroup::StepCgroup;
use super::entry;
use super::mounts::{Place, bind, mount, remount_read_only, told};
use crate::linux::protocol::Identity;

/// Files of /proc that real root could do harm by, and the ones that tell about the host's memory.
const PROC_READ_ONLY: &[&str] = &["acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger"];
const PROC_HIDDEN: &[&str] = &[
    "kcore",
    "keys",
    "timer_list",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "vmcore",
];

/// Makes this process's mount namespace the step's: nothing of the host is left in it.
pub(super) fn enter(place: &entry::Place<'_>, cgroup: Option<&StepCgroup>) -> io::Result<()> {
    let (root, dev, identity) = (place.root, place.dev, place.identity);
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    let fresh = |kind: &str, on: &str, flags: MountFlags, options: &str| {
        mount(
            kind,
            Place::find(root, Path::new(on))?.path(),
            kind,
            flags,
            options,
        )
    };
    fresh("devpts", "dev/pts", quiet, "newinstance,ptmxmode=0666,mode=0620")?;
    fresh(
        "tmpfs",
        "dev/shm",
        MountFlags::NOSUID | MountFlags::NODEV,
        "mode=1777",
    )?;
    fresh("proc", "proc", quiet | MountFlags::NODEV, "")?;
    protect_proc(Place::find(root, Path::new("proc"))?.path(), dev, identity)?;
    // Without it a step sees an empty /sys, which is not worth failing for.
    let system = fresh("sysfs", "sys", quiet | MountFlags::NODEV | MountFlags::RDONLY, "");
    if let (Ok(()), Some(cgroup)) = (system, cgroup) {
        // Nor is it that a step cannot see its limits.
        let _ = show_limits(root, cgroup);
    }

    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".").map_err(told("cannot pivot into the step's root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(told("cannot leave the host's root"))?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Shows the step its own cgroup, read-only, where programs look for their limits.
fn show_limits(root: &Path, cgroup: &StepCgroup) -> io::Result<()> {
    const SHOWN: &str = "sys/fs/cgroup";
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let show = |directory: &Path, on: &Path| {
        bind(directory, Place::find(root, on)?.path())?;
        remount_read_only(Place::find(root, on)?.path(), quiet)
    };
    if let Some(directory) = cgroup.unified() {
        return show(directory, Path::new(SHOWN));
    }
    let shown = Place::find(root, Path::new(SHOWN))?;
    mount("tmpfs", shown.path(), "tmpfs", quiet, "mode=0755,size=64k")?;
    let shown = Place::find(root, Path::new(SHOWN))?;
    for (name, directory) in cgroup.hierarchies() {
        std::fs::create_dir(shown.path().join(name))?;
        show(directory, &Path::new(SHOWN).join(name))?;
    }
    remount_read_only(shown.path(), quiet)
}

fn protect_proc(proc: &Path, dev: &Path, identity: Identity) -> io::Result<()> {
    // A user's root owns the settings of the network namespace, which the next step finds as this one left it.
    let (read_only, hidden) = match identity {
        Identity::Root => (PROC_READ_ONLY, PROC_HIDDEN),
        Identity::Single { .. } | Identity::Range => (&["sys"][..], &[][..]),
    };
    for name in read_only {
        let path = proc.join(name);
        match rustix::mount::mount_bind(&path, &path) {
            Err(rustix::io::Errno::NOENT) => {}
            bound => {
                bound.map_err(told("cannot protect /proc"))?;
                remount_read_only(&path, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC)?;
            }
        }
    }
    for name in hidden {
        match rustix::mount::mount_bind(dev.join("null"), proc.join(name)) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(told("cannot hide a file of /proc")(error)),
        }
    }
    Ok(())
}
