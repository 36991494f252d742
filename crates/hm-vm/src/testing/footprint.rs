//! What a process and all that it started have of a Linux host, and what of that is left when it has ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A process on the host, by id and start time: ids come back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    started: String,
}

/// Everything that a process and its descendants had at one moment.
#[derive(Debug, Clone)]
pub struct Footprint {
    processes: Vec<Process>,
    names: Vec<String>,
    namespaces: BTreeSet<PathBuf>,
    cgroups: BTreeSet<PathBuf>,
}

impl Footprint {
    /// What the descendants of a process have now that the process itself has not.
    #[must_use]
    pub fn below(pid: u32) -> Self {
        let processes = descendants(pid);
        let names = processes.iter().map(Process::name).collect();
        let (own_namespace, own_cgroups) = (network_namespace(pid), cgroups(pid));
        let namespaces = processes
            .iter()
            .filter_map(|process| network_namespace(process.pid))
            .filter(|namespace| Some(namespace) != own_namespace.as_ref())
            .collect();
        let cgroups = processes
            .iter()
            .flat_map(|process| cgroups(process.pid))
            // A zombie is in the root already, which nobody has made.
            .filter(|line| !own_cgroups.contains(line) && !line.ends_with(":/"))
            .filter_map(|line| cgroup_directory(&line))
            .collect();
        Self {
            processes,
            names,
            namespaces,
            cgroups,
        }
    }

    /// The names of the processes.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many network namespaces they are in.
    #[must_use]
    pub fn network_namespaces(&self) -> usize {
        self.namespaces.len()
    }

    /// How many cgroups they are in.
    #[must_use]
    pub fn cgroups(&self) -> usize {
        self.cgroups.len()
    }

    /// The processes of it that still run, by id and name; a zombie does not.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let named = self.processes.iter().zip(&self.names);
        named
            .filter(|(process, _)| process.runs())
            .map(|(process, name)| format!("process {} ({name})", process.pid))
            .collect()
    }

    /// What of it is still there: processes, network namespaces and cgroups.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let mut left = self.running();
        let used: BTreeSet<_> = all().filter_map(network_namespace).collect();
        let namespaces = self.namespaces.intersection(&used);
        left.extend(namespaces.map(|namespace| format!("namespace {}", namespace.display())));
        let cgroups = self.cgroups.iter().filter(|cgroup| cgroup.exists());
        left.extend(cgroups.map(|cgroup| format!("cgroup {}", cgroup.display())));
        left
    }
}

/// Mounts with something below `place` in them, in any process's mount namespace.
#[must_use]
pub fn mounts_of(place: &Path) -> BTreeSet<String> {
    let place = place.to_string_lossy();
    all()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok())
        .flat_map(|mounts| {
            let lines = mounts.lines().filter(|line| line.contains(&*place));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Processes with `text` in their command line.
#[must_use]
pub fn processes_with(text: &str) -> Vec<u32> {
    all()
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text)
        })
        .collect()
}

impl Process {
    fn find(pid: u32) -> Option<Self> {
        let started = stat(pid)?.get(19)?.clone();
        Some(Self { pid, started })
    }

    fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|fields| {
            let field = |at: usize| fields.get(at).map(String::as_str);
            field(0) != Some("Z") && field(19) == Some(&self.started)
        })
    }

    fn name(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        name.trim().to_owned()
    }
}

fn all() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The fields of /proc/PID/stat after the program's name, from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(ToOwned::to_owned).collect())
}

/// A process's children, their children, and so on.
fn descendants(of: u32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        for pid in all() {
            if stat(pid).is_some_and(|fields| fields.get(1) == Some(&parent.to_string())) {
                found.extend(Process::find(pid));
                parents.push(pid);
            }
        }
    }
    found
}

fn network_namespace(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// A process's lines of /proc/PID/cgroup.
fn cgroups(pid: u32) -> BTreeSet<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

/// The directory of such a line, on either version's hierarchies.
fn cgroup_directory(line: &str) -> Option<PathBuf> {
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
