//! Which ids a step's processes can have: root alone, or a range of subordinate ids from /etc/subuid.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::protocol::Identity;
use hm_vm::{Result, VmError};

/// A user's subordinate ids and the two programs that map them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdRanges {
    uid: u32,
    gid: u32,
    subuid: (u32, u32),
    subgid: (u32, u32),
    newuidmap: PathBuf,
    newgidmap: PathBuf,
}

/// Who this process is, and how that maps to a step's ids.
pub(super) fn identity(path: &str) -> (Identity, Option<IdRanges>) {
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if rustix::process::geteuid().is_root() {
        return (Identity::Root, None);
    }
    match IdRanges::find(uid, gid, path) {
        Some(ranges) => (Identity::Range, Some(ranges)),
        None => (Identity::Single { uid, gid }, None),
    }
}

impl IdRanges {
    fn find(uid: u32, gid: u32, path: &str) -> Option<Self> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        });
        let range = |file: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            text.lines().find_map(|line| {
                let mut fields = line.split(':');
                let owner = fields.next()?;
                let ours = Some(owner) == name.as_deref() || owner == uid.to_string();
                let start = fields.next()?.parse().ok()?;
                let count = fields.next()?.trim().parse().ok()?;
                ours.then_some((start, count))
            })
        };
        Some(Self {
            uid,
            gid,
            subuid: range("/etc/subuid")?,
            subgid: range("/etc/subgid")?,
            newuidmap: find_program("newuidmap", path)?,
            newgidmap: find_program("newgidmap", path)?,
        })
    }
}

/// The first executable file of that name on a search path, or where distributions put system programs.
pub(super) fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    path.split(':')
        .chain(["/usr/bin", "/usr/sbin", "/bin", "/sbin"])
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| Path::new(directory).join(name))
        .find(|candidate| {
            rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok() && candidate.is_file()
        })
}

/// Maps a process's user namespace: the user as root, the subordinate range from 1 on.
pub(super) fn apply(ranges: &IdRanges, pid: u32) -> Result<()> {
    for (program, own, (start, count)) in [
        (&ranges.newuidmap, ranges.uid, ranges.subuid),
        (&ranges.newgidmap, ranges.gid, ranges.subgid),
    ] {
        let arguments = [pid, 0, own, 1, 1, start, count].map(|number| number.to_string());
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .output()
            .map_err(VmError::io("cannot run", program))?;
        if !output.status.success() {
            return Err(VmError::Unsupported {
                what: "mapping subordinate user ids".into(),
                reason: format!(
                    "{} says: {}",
                    program.display(),
                    String::from_utf8_lossy(&output.stderr).trim()
                ),
            });
        }
    }
    Ok(())
}
