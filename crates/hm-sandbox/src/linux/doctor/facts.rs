//! What the kernel and the configuration of this machine say, as they say it.

use std::path::Path;

use super::super::idmap::{self, find_program};
use super::super::protocol::Identity;
use crate::surface::SandboxConfig;

/// Whether connections out can be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tun {
    Usable,
    Missing,
    Refused,
}

/// What was read. Texts are those of the files, and `None` where there is no such file.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub identity: Identity,
    /// The user's name, or number.
    pub user: String,
    /// `/proc/sys/kernel/osrelease`
    pub release: String,
    /// `/proc/filesystems`
    pub filesystems: String,
    /// `/proc/sys/user/max_user_namespaces`
    pub max_user_namespaces: Option<String>,
    /// `/proc/sys/kernel/unprivileged_userns_clone`
    pub unprivileged_userns_clone: Option<String>,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`
    pub apparmor_restrict: Option<String>,
    /// The number that names the file system of the data directory.
    pub data_filesystem: Option<i64>,
    pub data_dir: String,
    pub free: Option<u64>,
    pub min_free: u64,
    /// Mount points inside of directories that steps are shown.
    pub inner_mounts: Vec<String>,
    pub has_subids: bool,
    pub has_newuidmap: bool,
    pub has_pasta: bool,
    pub tun: Tun,
    pub in_container: bool,
    pub has_systemd: bool,
}

impl Facts {
    pub(super) fn read(config: &SandboxConfig) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        let uid = rustix::process::getuid().as_raw();
        let user = user_name(&text("/etc/passwd").unwrap_or_default(), uid);
        let ranges = |file: &str| has_range(&text(file).unwrap_or_default(), &user, uid);
        let (identity, _) = idmap::identity(&config.path);
        let existing = config
            .data_dir
            .ancestors()
            .find(|path| path.is_dir())
            .unwrap_or_else(|| Path::new("/"));
        let free = rustix::fs::statvfs(existing).map(|disk| disk.f_bavail * disk.f_frsize);
        Self {
            identity,
            has_subids: ranges("/etc/subuid") && ranges("/etc/subgid"),
            user,
            release: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            filesystems: text("/proc/filesystems").unwrap_or_default(),
            max_user_namespaces: text("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone: text("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict: text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            data_filesystem: rustix::fs::statfs(existing).map(|fs| fs.f_type).ok(),
            data_dir: config.data_dir.display().to_string(),
            inner_mounts: inner_mounts(&text("/proc/self/mountinfo").unwrap_or_default()),
            free: free.ok(),
            min_free: config.min_free,
            has_newuidmap: ["newuidmap", "newgidmap"]
                .iter()
                .all(|program| find_program(program, &config.path).is_some()),
            has_pasta: find_program("pasta", &config.path).is_some(),
            tun: tun(),
            in_container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|file| Path::new(file).exists()),
            has_systemd: Path::new("/run/systemd/system").exists(),
        }
    }
}

/// Whether `pasta` could open its device.
pub(super) fn tun() -> Tun {
    use rustix::fs::Access;
    match rustix::fs::access("/dev/net/tun", Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => Tun::Usable,
        Err(rustix::io::Errno::NOENT) => Tun::Missing,
        Err(_) => Tun::Refused,
    }
}

/// Mount points below directories that a step's root is put together from.
fn inner_mounts(mountinfo: &str) -> Vec<String> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| {
            ["/etc/", "/usr/", "/opt/", "/nix/"]
                .iter()
                .any(|shown| point.starts_with(shown))
        })
        .map(ToOwned::to_owned)
        .collect()
}

/// The user's name in /etc/passwd, or the number.
fn user_name(passwd: &str, uid: u32) -> String {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    });
    name.map_or(number, ToOwned::to_owned)
}

/// Whether a file like /etc/subuid gives a user any ids.
fn has_range(text: &str, user: &str, uid: u32) -> bool {
    text.lines().any(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields[..] {
            [owner, _, count] => {
                (owner == user || owner == uid.to_string())
                    && count.trim().parse::<u64>().is_ok_and(|count| count > 0)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_passwd_names_it() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000), "ann");
        assert_eq!(user_name(passwd, 1001), "1001");
        assert_eq!(user_name("", 0), "0");
        assert_eq!(user_name("broken\n:\n", 0), "0");
    }

    #[test]
    fn mounts_inside_of_what_is_shown_are_found() {
        let mountinfo = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                         23 22 0:5 / /proc rw - proc proc rw\n\
                         30 22 254:0 /docker/hosts /etc/hosts rw - ext4 /dev/vda rw\n\
                         31 22 0:9 / /etc rw - tmpfs tmpfs rw\nbroken\n";
        assert_eq!(inner_mounts(mountinfo), ["/etc/hosts"]);
    }

    #[test]
    fn a_range_belongs_to_a_name_or_a_number() {
        let file = "ann:100000:65536\n1001:165536:65536\nbob:231072:0\n";
        assert!(has_range(file, "ann", 1000));
        assert!(has_range(file, "1001", 1001));
        assert!(!has_range(file, "bob", 1002), "a range of no ids");
        assert!(!has_range(file, "an", 1003));
        assert!(!has_range("ann\nann:1\n", "ann", 1000));
    }
}
