//! Who a command runs as: a user of its image, by name or by number.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Gid, Uid};

use super::mounts;

/// A user that a step's process can become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub uid: u32,
    pub gid: u32,
    /// Where no group was asked for, those that the image's /etc/group gives.
    groups: Vec<u32>,
    name: String,
    home: String,
}

/// A line of /etc/passwd.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl User {
    /// Finds `USER[:GROUP]` in the root's own files, as an image's `User` is read: a number that they do not have is a
    /// user of group 0.
    pub(super) fn find(root: &Path, wanted: &str) -> io::Result<Self> {
        let read = |path: &str| mounts::read(root, Path::new(path)).unwrap_or_default();
        let user = resolve(wanted, &read("/etc/passwd"), &read("/etc/group"))?;
        user.check(
            &std::fs::read_to_string("/proc/self/uid_map")?,
            &std::fs::read_to_string("/proc/self/gid_map")?,
        )?;
        Ok(user)
    }

    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Refuses ids that this user namespace does not have.
    fn check(&self, uids: &str, gids: &str) -> io::Result<()> {
        let missing = (!has(uids, self.uid))
            .then_some(("user", self.uid))
            .or_else(|| (!has(gids, self.gid)).then_some(("group", self.gid)));
        match missing {
            None => Ok(()),
            Some((what, id)) => Err(io::Error::other(format!(
                "it is to run as {}, and in this step there is no {what} {id}: /etc/subuid and /etc/subgid give you none \
                 (`hm doctor` tells how to mend it)",
                self.name
            ))),
        }
    }

    /// What of the environment is this user's; root's is the image's own.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        if self.is_root() {
            return Vec::new();
        }
        [
            ("HOME", &self.home),
            ("USER", &self.name),
            ("LOGNAME", &self.name),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }

    /// Makes this process the user, for good. `outputs` can be opened again by their names in /dev then.
    pub(super) fn become_it(&self, outputs: &[BorrowedFd<'_>]) -> io::Result<()> {
        if (self.uid, self.gid) == (0, 0) {
            return Ok(());
        }
        let failed = |error: rustix::io::Errno| {
            io::Error::other(format!("cannot become the user {}: {error}", self.name))
        };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        for output in outputs {
            // What cannot be given away can still be written to.
            let _ = rustix::fs::fchown(output, Some(uid), Some(gid));
        }
        let groups: Vec<_> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        rustix::thread::set_thread_groups(&groups).map_err(failed)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed)
    }
}

/// Whether a user namespace has an id, by its map.
fn has(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line
            .split_whitespace()
            .map_while(|number| number.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        (first..first + count).contains(&u64::from(id))
    })
}

fn resolve(wanted: &str, passwd: &str, group: &str) -> io::Result<User> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let unknown = |what: &str, name: &str, file: &str| {
        io::Error::other(format!(
            "the image has no {what} `{name}`: its {file} does not name one"
        ))
    };
    let known = passwd.lines().filter_map(known);
    let number = user.parse::<u32>().ok();
    let found = match number {
        Some(uid) => known.into_iter().find(|known| known.uid == uid),
        None => known.into_iter().find(|known| known.name == user),
    };
    let Known { name, uid, gid, home } = match (found, number) {
        (Some(found), _) => found,
        (None, Some(uid)) => Known {
            name: user.to_owned(),
            uid,
            gid: 0,
            home: "/".into(),
        },
        (None, None) => return Err(unknown("user", user, "/etc/passwd")),
    };
    let named = || {
        group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (
                fields.next()?,
                fields.next()?,
                fields.next()?.parse::<u32>().ok()?,
            );
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    };
    let (gid, groups) = match wanted_group {
        Some(wanted) => {
            let gid = wanted.parse().ok();
            let gid = gid.or_else(|| Some(named().find(|(name, ..)| *name == wanted)?.1));
            (
                gid.ok_or_else(|| unknown("group", wanted, "/etc/group"))?,
                Vec::new(),
            )
        }
        None => {
            let member = |members: &str| members.split(',').any(|member| member == name);
            let groups = named().filter(|(_, _, members)| member(members));
            (gid, groups.map(|(_, gid, _)| gid).collect())
        }
    };
    let home = if home.starts_with('/') { home } else { "/".into() };
    Ok(User {
        uid,
        gid,
        groups,
        name,
        home,
    })
}

fn known(line: &str) -> Option<Known> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
        return None;
    };
    Some(Known {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: (*home).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken line\npostgres:x:999:998::/var/lib/postgresql:/bin/sh\n\
                          homeless:x:7:7:::\n";
    const GROUP: &str = "root:x:0:\npostgres:x:998:\nssl-cert:x:101:homeless,postgres\n";

    #[test]
    fn users_are_found_as_docker_finds_them() {
        for (wanted, uid, gid, groups, home) in [
            ("postgres", 999, 998, vec![101], "/var/lib/postgresql"),
            ("999", 999, 998, vec![101], "/var/lib/postgresql"),
            ("postgres:root", 999, 0, vec![], "/var/lib/postgresql"),
            ("postgres:7", 999, 7, vec![], "/var/lib/postgresql"),
            ("postgres:", 999, 998, vec![101], "/var/lib/postgresql"),
            ("4321", 4321, 0, vec![], "/"),
            ("4321:1234", 4321, 1234, vec![], "/"),
            ("homeless", 7, 7, vec![101], "/"),
            ("root", 0, 0, vec![], "/root"),
        ] {
            let user = resolve(wanted, PASSWD, GROUP).expect(wanted);
            assert_eq!(
                (user.uid, user.gid, user.home.as_str()),
                (uid, gid, home),
                "{wanted}"
            );
            assert_eq!(user.groups, groups, "{wanted}");
        }
        for wanted in ["nobody-here", "", "postgres:no-such-group", "-1", "99999999999"] {
            let error = resolve(wanted, PASSWD, GROUP).expect_err(wanted).to_string();
            assert!(error.contains("the image has no"), "{error}");
        }
    }

    #[test]
    fn ids_that_are_not_mapped_are_refused() {
        let user = resolve("postgres", PASSWD, GROUP).expect("a user");
        let all = "0 0 4294967295\n";
        assert!(user.check(all, all).is_ok());
        assert!(user.check("0 1000 1\n1 100000 65536\n", all).is_ok());
        let error = user.check("0 1000 1\n", all).expect_err("alone").to_string();
        assert!(
            error.contains("no user 999") && error.contains("hm doctor"),
            "{error}"
        );
        assert!(user.check(all, "0 1000 1\n").is_err());
    }
}
