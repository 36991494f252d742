//! What can be seen of a step from the host.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Child;

/// A process that ends with the test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process on the host, by id and start time: ids come back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: u32,
    started: String,
}

fn all() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Processes whose command line contains `text`.
pub fn processes_with(text: &str) -> Vec<u32> {
    all()
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text)
        })
        .collect()
}

/// The fields of /proc/PID/stat after the program's name, from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(ToOwned::to_owned).collect())
}

impl Process {
    fn find(pid: u32) -> Option<Self> {
        let started = stat(pid)?.get(19)?.clone();
        Some(Self { pid, started })
    }

    /// Whether it runs; a zombie does not.
    pub fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|fields| fields[0] != "Z" && fields[19] == self.started)
    }

    /// What it has of `/proc/PID/ns/NAME`.
    pub fn namespace(&self, name: &str) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/ns/{name}", self.pid)).ok()
    }

    /// Its cgroups: `hierarchy:path`.
    pub fn cgroups(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Its name.
    pub fn name(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/comm", self.pid))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

/// A process's children, their children, and so on.
pub fn descendants(of: u32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        for pid in all() {
            if stat(pid).is_some_and(|fields| fields[1] == parent.to_string()) {
                found.extend(Process::find(pid));
                parents.push(pid);
            }
        }
    }
    found
}

/// Network namespaces that some process is in.
pub fn network_namespaces() -> BTreeSet<PathBuf> {
    all()
        .filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok())
        .collect()
}

/// The directory of a line of /proc/PID/cgroup, on either version's hierarchies.
pub fn cgroup_directory(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let names = match controllers {
        "" => vec!["unified", ""],
        controllers => vec![controllers.trim_start_matches("name=")],
    };
    names
        .into_iter()
        .map(|name| PathBuf::from("/sys/fs/cgroup").join(name))
        .find(|hierarchy| hierarchy.join("cgroup.procs").exists())
        .map(|hierarchy| hierarchy.join(path.trim_start_matches('/')))
}
