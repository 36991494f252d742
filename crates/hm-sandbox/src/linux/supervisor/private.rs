//! What one command alone has mounted: its pod's names, its secrets, its cache directories. It is mounted in the
//! command's own mount namespace, so that it is gone with the command and never in what a snapshot is made of.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::MountFlags;

use super::entry::Entry;
use super::mounts::{self, Place, bind, mount as mount_fresh, overlay, remount_read_only};
use super::roots::PRIVATE;
use super::user::User;
use crate::linux::hidden::Hidden;
use crate::linux::protocol::{Overlay, Spawn};
use hm_vm::SECRETS_DIR;

const HOSTS: &str = "/etc/hosts";

/// Mounts it all. A plain command has none, and pays nothing.
pub(super) fn mount(entry: &Entry<'_>, spawn: &Spawn, user: Option<&User>) -> io::Result<()> {
    let root = entry.place.root;
    for cache in &spawn.caches {
        let cache = Overlay {
            target: in_home(&cache.target, spawn, user),
            ..cache.clone()
        };
        mounts::make_directory(root, &cache.target)?;
        overlay(root, &cache)?;
    }
    let hosts = entry.hosts.filter(|hosts| !hosts.is_empty());
    if hosts.is_none() && spawn.secret_files.is_empty() {
        return Ok(());
    }
    let hosts = hosts.map(|hosts| {
        let own = mounts::read(root, Path::new(HOSTS)).unwrap_or_default();
        with_names(&own, hosts, has_ipv6())
    });
    let private = entry.place.stage.join(PRIVATE);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let room = room(hosts.as_deref(), &spawn.secret_files);
    mount_fresh(
        "tmpfs",
        &private,
        "tmpfs",
        flags,
        &format!("mode=0755,size={room}"),
    )?;
    if let Some(hosts) = hosts {
        let file = private.join("hosts");
        std::fs::write(&file, hosts)?;
        bind(&file, mounts::make_file(root, Path::new(HOSTS))?.path())?;
    }
    if !spawn.secret_files.is_empty() {
        secrets(root, &private.join("secrets"), &spawn.secret_files, user)?;
    }
    Ok(())
}

/// A place of which `~` is the home of the command's user.
fn in_home(path: &Path, spawn: &Spawn, user: Option<&User>) -> PathBuf {
    let Ok(inside) = path.strip_prefix("~") else {
        return path.to_owned();
    };
    let home = |variables: &[(String, String)]| {
        let home = variables.iter().find(|(name, _)| name == "HOME");
        home.map(|(_, home)| PathBuf::from(home))
    };
    let users = || home(&user?.variables());
    let home = home(&spawn.env).or_else(users).or_else(|| home(&spawn.defaults));
    home.unwrap_or_else(|| PathBuf::from("/root")).join(inside)
}

/// Enough for whole pages, and the inodes beside them.
fn room(hosts: Option<&str>, secrets: &[(String, Hidden)]) -> usize {
    const PAGE: usize = 64 * 1024;
    let files = secrets.iter().map(|(_, value)| value.0.expose().len());
    let pages = |bytes: usize| bytes.div_ceil(PAGE) + 1;
    (pages(hosts.map_or(0, str::len)) + files.map(pages).sum::<usize>() + 1) * PAGE
}

/// Whether the network that this process is in has a `::1`.
fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/self/net/if_inet6").is_ok_and(|addresses| !addresses.is_empty())
}

/// A hosts file with names that lead to localhost: to the same addresses as `localhost` itself.
fn with_names(hosts: &str, names: &[String], ipv6: bool) -> String {
    let mut text = hosts.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let addresses = ["127.0.0.1", "::1"];
    for address in &addresses[..1 + usize::from(ipv6)] {
        text.push_str(address);
        text.push(' ');
        text.push_str(&names.join(" "));
        text.push('\n');
    }
    text
}

fn secrets(root: &Path, directory: &Path, files: &[(String, Hidden)], user: Option<&User>) -> io::Result<()> {
    std::fs::create_dir(directory)?;
    let own = |file: &OwnedFd| match user.filter(|user| (user.uid, user.gid) != (0, 0)) {
        Some(user) => rustix::fs::fchown(file, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid))),
        None => Ok(()),
    };
    for (name, value) in files {
        let path = directory.join(name);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(path)?;
        file.write_all(value.0.expose())?;
        own(&file.into())?;
    }
    let opened = rustix::fs::open(
        directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(0o500))?;
    own(&opened)?;
    let target = mounts::make_directory(root, Path::new(SECRETS_DIR))?;
    bind(directory, target.path())?;
    let mounted = Place::find(root, Path::new(SECRETS_DIR))?;
    remount_read_only(
        mounted.path(),
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_what_the_image_has() {
        let names = ["db".to_owned(), "cache".to_owned()];
        for (own, expected) in [
            ("", "127.0.0.1 db cache\n"),
            ("10.0.0.1 x\n", "10.0.0.1 x\n127.0.0.1 db cache\n"),
            ("10.0.0.1 x", "10.0.0.1 x\n127.0.0.1 db cache\n"),
        ] {
            assert_eq!(with_names(own, &names, false), expected);
            assert_eq!(with_names(own, &names, true), format!("{expected}::1 db cache\n"));
        }
    }
}
