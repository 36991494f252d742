//! A step's root: overlays over an image, and the file systems that the kernel provides.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, StatVfsMountFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::sandbox::protocol::{Bind, Identity, Overlay, Setup, Spawn};

/// What all steps of a run share, made once in the supervisor's mount namespace.
#[derive(Debug)]
pub(super) struct Base {
    /// Where each step mounts its root, in its own mount namespace.
    root: PathBuf,
    /// A read-only `/dev` with the harmless devices.
    dev: PathBuf,
}

const DEVICES: &[&str] = &["full", "null", "random", "tty", "urandom", "zero"];
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

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

impl Base {
    /// Prepares what all steps share.
    pub(super) fn prepare(setup: &Setup) -> io::Result<Self> {
        super::confine::filters()?;
        let (root, dev) = (setup.stage.join("root"), setup.stage.join("dev"));
        mount(
            "tmpfs",
            &setup.stage,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            "mode=0755,size=64k",
        )?;
        std::fs::create_dir(&root)?;
        std::fs::create_dir(&dev)?;
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
        Ok(Self { root, dev })
    }
}

/// Makes this process's mount namespace the step's: nothing of the host is left in it.
pub(super) fn enter(setup: &Setup, base: &Base, spawn: &Spawn) -> io::Result<()> {
    let root = &base.root;
    for layer in &spawn.overlays {
        overlay(root, layer)?;
    }
    for exposed in &spawn.binds {
        bind_read_only(root, exposed)?;
    }
    let inside = |name: &str| root.join(name);
    rustix::mount::mount_bind_recursive(&base.dev, inside("dev")).map_err(told("cannot mount /dev"))?;
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(
        "devpts",
        &inside("dev/pts"),
        "devpts",
        quiet,
        "newinstance,ptmxmode=0666,mode=0620",
    )?;
    mount(
        "tmpfs",
        &inside("dev/shm"),
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        "mode=1777",
    )?;
    mount("proc", &inside("proc"), "proc", quiet | MountFlags::NODEV, "")?;
    protect_proc(&inside("proc"), base, setup.identity)?;
    // Without it a step sees an empty /sys, which is not worth failing for.
    let _ = mount(
        "sysfs",
        &inside("sys"),
        "sysfs",
        quiet | MountFlags::NODEV | MountFlags::RDONLY,
        "",
    );

    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".").map_err(told("cannot pivot into the step's root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(told("cannot leave the host's root"))?;
    std::env::set_current_dir("/")?;
    Ok(())
}

fn overlay(root: &Path, overlay: &Overlay) -> io::Result<()> {
    let mut options = OsString::from("lowerdir=");
    for (index, lower) in overlay.lower.iter().enumerate() {
        if index > 0 {
            options.push(":");
        }
        options.push(escaped(lower));
    }
    for (name, path) in [(",upperdir=", &overlay.upper), (",workdir=", &overlay.work)] {
        options.push(name);
        options.push(escaped(path));
    }
    // `userxattr` turns `redirect_dir` and `metacopy` off too: a lower layer may change between mounts.
    // `volatile`: unmounting must not flush the whole file system; the store syncs what it keeps.
    options.push(",userxattr,index=off,xino=off,volatile");
    let options = CString::new(options.into_vec())?;
    let target = beneath(root, &overlay.target);
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    rustix::mount::mount("overlay", &target, "overlay", flags, options.as_c_str()).map_err(|error| {
        io::Error::other(format!(
            "cannot mount the overlay on {} ({}): {error}",
            overlay.target.display(),
            options.to_string_lossy()
        ))
    })
}

/// A path as the overlay's option parser reads it back.
fn escaped(path: &Path) -> OsString {
    let mut bytes = Vec::with_capacity(path.as_os_str().len());
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            bytes.push(b'\\');
        }
        bytes.push(*byte);
    }
    OsString::from_vec(bytes)
}

fn bind_read_only(root: &Path, exposed: &Bind) -> io::Result<()> {
    let target = beneath(root, &exposed.target);
    rustix::mount::mount_bind_recursive(&exposed.source, &target).map_err(|error| {
        io::Error::other(format!(
            "cannot show {} read-only: {error}",
            exposed.source.display()
        ))
    })?;
    remount_read_only(&target, MountFlags::NOSUID | MountFlags::NODEV)
}

/// Makes a bind mount read-only, and nothing else about it.
fn remount_read_only(target: &Path, with: MountFlags) -> io::Result<()> {
    // In a user namespace the flags that the host's mount has are locked: they must be named again.
    let has = rustix::fs::statvfs(target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | with;
    for (present, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(present) {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(target, flags, c"")
        .map_err(|error| io::Error::other(format!("cannot make {} read-only: {error}", target.display())))
}

fn protect_proc(proc: &Path, base: &Base, identity: Identity) -> io::Result<()> {
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
        match rustix::mount::mount_bind(base.dev.join("null"), proc.join(name)) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(told("cannot hide a file of /proc")(error)),
        }
    }
    Ok(())
}

/// `path` of the step, as seen before pivoting.
fn beneath(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn mount(source: &str, target: &Path, kind: &str, flags: MountFlags, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    rustix::mount::mount(source, target, kind, flags, options.as_c_str())
        .map_err(|error| io::Error::other(format!("cannot mount {kind} on {}: {error}", target.display())))
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    rustix::mount::mount_bind(source, target)
        .map_err(|error| io::Error::other(format!("cannot bind {}: {error}", source.display())))
}

fn told(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}
