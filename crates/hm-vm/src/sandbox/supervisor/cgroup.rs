//! Memory, processor and process limits by cgroups: version 2 where its controllers are delegated to us,
//! version 1 as root.
//!
//! A run has one directory, `hm.PID`, in each hierarchy, and in it one for each step at one time, used by one step
//! after another. What a supervisor that was killed left is empty and goes when the next one begins.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::Limits;
use crate::sandbox::protocol::Identity;

/// A bound on processes and threads for a step that names none: a fork bomb ends by itself.
const DEFAULT_PIDS: u64 = 4096;

/// What a limit is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Controller {
    Cpu,
    Memory,
    Pids,
}

const CONTROLLERS: [(Controller, &str); 3] = [
    (Controller::Cpu, "cpu"),
    (Controller::Memory, "memory"),
    (Controller::Pids, "pids"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where cgroups for steps can be made.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    /// The run's own directory in each hierarchy, by what it controls.
    controllers: BTreeMap<Controller, (Version, PathBuf)>,
    made: u64,
    free: Vec<StepCgroup>,
}

/// One step's cgroups.
#[derive(Debug)]
pub(super) struct StepCgroup {
    controllers: BTreeMap<Controller, (Version, PathBuf)>,
    limits: Limits,
    kills_before: u64,
    refusals_before: u64,
}

impl Cgroups {
    /// Makes the run's directories where this process may.
    pub(super) fn find(identity: Identity) -> Self {
        let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut found = Self::default();
        for (version, names, own) in memberships(&membership, &mounts) {
            match version {
                Version::Two => found.adopt_unified(identity, &own),
                Version::One if identity == Identity::Root => found.adopt_one(&names, &own),
                Version::One => {}
            }
        }
        found
    }

    /// Version 2: the nearest ancestor below which we may make a directory that controls something.
    fn adopt_unified(&mut self, identity: Identity, own: &Path) {
        for ancestor in own
            .ancestors()
            .take_while(|path| path.join("cgroup.procs").exists())
        {
            let may_move = identity == Identity::Root
                || rustix::fs::access(ancestor.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok();
            let Some(run) = may_move.then(|| make_run(ancestor)).flatten() else {
                continue;
            };
            let offered = std::fs::read_to_string(run.join("cgroup.controllers")).unwrap_or_default();
            let mut any = false;
            for (controller, name) in CONTROLLERS {
                let enabled = offered.split_whitespace().any(|offer| offer == name)
                    && std::fs::write(run.join("cgroup.subtree_control"), format!("+{name}")).is_ok();
                if enabled {
                    any = true;
                    self.controllers
                        .entry(controller)
                        .or_insert_with(|| (Version::Two, run.clone()));
                }
            }
            if any {
                return;
            }
            let _ = std::fs::remove_dir(run);
        }
    }

    fn adopt_one(&mut self, names: &[String], own: &Path) {
        for (controller, name) in CONTROLLERS {
            if names.iter().any(|offer| offer == name)
                && !self.controllers.contains_key(&controller)
                && let Some(run) = make_run(own)
            {
                self.controllers.insert(controller, (Version::One, run));
            }
        }
    }

    /// Makes cgroups until `count` are free.
    pub(super) fn prepare(&mut self, count: usize) {
        for _ in self.free.len()..count {
            let Some(cgroup) = self.make() else { return };
            self.free.push(cgroup);
        }
    }

    /// A cgroup for a step with these limits, or none where there are no controllers.
    pub(super) fn take(&mut self, limits: &Limits) -> io::Result<Option<StepCgroup>> {
        let Some(mut cgroup) = self.free.pop().or_else(|| self.make()) else {
            return Ok(None);
        };
        match cgroup.limit(limits) {
            Ok(()) => Ok(Some(cgroup)),
            Err(error) => {
                self.free.push(cgroup);
                Err(error)
            }
        }
    }

    /// Takes a cgroup back from a step that has ended.
    pub(super) fn give_back(&mut self, cgroup: StepCgroup) {
        self.free.push(cgroup);
    }

    fn make(&mut self) -> Option<StepCgroup> {
        self.made += 1;
        let mut controllers = BTreeMap::new();
        for (controller, (version, run)) in &self.controllers {
            let directory = run.join(self.made.to_string());
            match std::fs::create_dir(&directory) {
                Ok(()) => {}
                // Another controller of the same hierarchy has made it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => continue,
            }
            controllers.insert(*controller, (*version, directory));
        }
        if controllers.is_empty() {
            return None;
        }
        let cgroup = StepCgroup {
            controllers,
            limits: Limits::default(),
            kills_before: 0,
            refusals_before: 0,
        };
        let pids = cgroup.write(
            Controller::Pids,
            "pids.max",
            "pids.max",
            &DEFAULT_PIDS.to_string(),
        );
        pids.ok().map(|()| cgroup)
    }

    /// Removes what this run made; its processes are gone.
    pub(super) fn remove(&self) {
        for (_, run) in self.controllers.values() {
            remove_run(run);
        }
    }
}

impl StepCgroup {
    /// Moves the calling process in.
    pub(super) fn enter(&self) -> io::Result<()> {
        let mut entered: Option<&Path> = None;
        for (_, directory) in self.controllers.values() {
            if entered != Some(directory) {
                std::fs::write(directory.join("cgroup.procs"), "0").map_err(|error| {
                    io::Error::other(format!("cannot enter {}: {error}", directory.display()))
                })?;
            }
            entered = Some(directory);
        }
        Ok(())
    }

    /// Sets the limits of its next step.
    fn limit(&mut self, limits: &Limits) -> io::Result<()> {
        let number = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
        if limits.memory != self.limits.memory {
            let one = limits
                .memory
                .map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
            let text = (number(limits.memory), one);
            self.write_either(Controller::Memory, ("memory.max", "memory.limit_in_bytes"), &text)?;
            let swap = if limits.memory.is_some() { "0" } else { "max" };
            // Not every kernel accounts for swap.
            let _ = self.write(Controller::Memory, "memory.swap.max", "", swap);
        }
        if limits.pids != self.limits.pids {
            let text = limits.pids.unwrap_or(DEFAULT_PIDS).to_string();
            self.write(Controller::Pids, "pids.max", "pids.max", &text)?;
        }
        if limits.cpus != self.limits.cpus {
            const PERIOD: f64 = 100_000.0;
            // Fractions of a microsecond do not matter.
            let quota = limits
                .cpus
                .map(|cpus| format!("{:.0}", (cpus * PERIOD).max(1_000.0)));
            let text = (
                format!("{} {PERIOD:.0}", quota.clone().unwrap_or_else(|| "max".into())),
                quota.unwrap_or_else(|| "-1".into()),
            );
            self.write_either(Controller::Cpu, ("cpu.max", "cpu.cfs_quota_us"), &text)?;
        }
        self.limits = limits.clone();
        self.kills_before = if limits.memory.is_some() { self.kills() } else { 0 };
        self.refusals_before = self.refusals();
        Ok(())
    }

    fn write(&self, controller: Controller, two: &str, one: &str, text: &str) -> io::Result<()> {
        self.write_either(controller, (two, one), &(text.to_owned(), text.to_owned()))
    }

    /// Writes the file of whichever version controls this; nothing where nothing does.
    fn write_either(
        &self,
        controller: Controller,
        (two, one): (&str, &str),
        text: &(String, String),
    ) -> io::Result<()> {
        let Some((version, directory)) = self.controllers.get(&controller) else {
            return Ok(());
        };
        let (file, text) = match version {
            Version::Two => (two, &text.0),
            Version::One => (one, &text.1),
        };
        if file.is_empty() {
            return Ok(());
        }
        std::fs::write(directory.join(file), text)
            .map_err(|error| io::Error::other(format!("cannot set {file} to {text}: {error}")))
    }

    /// What the step that ran here should be told: limits that nothing here controls, and that it could not start all
    /// of its processes.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = missing(&self.limits, |controller| {
            self.controllers.contains_key(&controller)
        });
        if self.refusals() > self.refusals_before {
            notes.push(format!(
                "it ran into its limit of {} processes and threads at one time",
                self.limits.pids.unwrap_or(DEFAULT_PIDS)
            ));
        }
        notes
    }

    /// How many processes and threads were refused here.
    fn refusals(&self) -> u64 {
        self.count(Controller::Pids, "pids.events", "pids.events", "max ")
    }

    /// Whether the kernel killed a process here for want of memory since the limits were set.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.limits.memory.is_some() && self.kills() > self.kills_before
    }

    fn kills(&self) -> u64 {
        self.count(
            Controller::Memory,
            "memory.events",
            "memory.oom_control",
            "oom_kill ",
        )
    }

    /// What a line of the controller's file counts.
    fn count(&self, controller: Controller, two: &str, one: &str, line: &str) -> u64 {
        let Some((version, directory)) = self.controllers.get(&controller) else {
            return 0;
        };
        let file = match version {
            Version::Two => two,
            Version::One => one,
        };
        let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|found| found.strip_prefix(line))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }
}

/// Limits that were asked for where there is no cgroup at all.
pub(super) fn unlimited(limits: &Limits) -> Vec<String> {
    missing(limits, |_| false)
}

fn missing(limits: &Limits, has: impl Fn(Controller) -> bool) -> Vec<String> {
    [
        (limits.memory.is_some(), Controller::Memory, "memory"),
        (limits.cpus.is_some(), Controller::Cpu, "cpu"),
        (limits.pids.is_some(), Controller::Pids, "pids"),
    ]
    .into_iter()
    .filter(|(asked, controller, _)| *asked && !has(*controller))
    .map(|(_, _, name)| format!("the {name} limit is not enforced: this machine gives hm no {name} cgroup (`hm doctor` tells more)"))
    .collect()
}

/// A directory of our own below `parent`, after those of dead supervisors are gone.
fn make_run(parent: &Path) -> Option<PathBuf> {
    for entry in std::fs::read_dir(parent).ok()?.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix("hm."))
            .and_then(|pid| pid.parse::<u32>().ok());
        if let Some(pid) = pid
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            remove_run(&entry.path());
        }
    }
    let run = parent.join(format!("hm.{}", std::process::id()));
    match std::fs::create_dir(&run) {
        Ok(()) => Some(run),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(run),
        Err(_) => None,
    }
}

fn remove_run(run: &Path) {
    for slot in std::fs::read_dir(run).into_iter().flatten().flatten() {
        // Its files are the kernel's: they are not to be removed.
        let _ = std::fs::remove_dir(slot.path());
    }
    let _ = std::fs::remove_dir(run);
}

/// The hierarchies that this process is in: version, names of the controllers, and its directory there.
fn memberships(membership: &str, mountinfo: &str) -> Vec<(Version, Vec<String>, PathBuf)> {
    let mut mounted: Vec<(Version, Vec<String>, PathBuf, PathBuf)> = Vec::new();
    for line in mountinfo.lines() {
        // See proc_pid_mountinfo(5): "… root mount-point options optional… - type source super-options".
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let mut front = front.split(' ').skip(3);
        let (Some(root), Some(point)) = (front.next(), front.next()) else {
            continue;
        };
        let mut back = back.split(' ');
        let version = match back.next() {
            Some("cgroup2") => Version::Two,
            Some("cgroup") => Version::One,
            _ => continue,
        };
        let options = back
            .nth(1)
            .unwrap_or_default()
            .split(',')
            .map(ToOwned::to_owned)
            .collect();
        mounted.push((version, options, root.into(), point.into()));
    }
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(own)) = (fields.next(), fields.next()) else {
            continue;
        };
        let names: Vec<_> = names
            .split(',')
            .filter(|name| !name.is_empty())
            .map(ToOwned::to_owned)
            .collect();
        let mount = mounted.iter().find(|(version, options, _, _)| match version {
            Version::Two => names.is_empty(),
            Version::One => names.iter().any(|name| options.contains(name)),
        });
        if let Some((version, _, root, point)) = mount {
            let below = Path::new(own)
                .strip_prefix(root)
                .unwrap_or_else(|_| Path::new(""));
            let own = if below.as_os_str().is_empty() {
                point.clone()
            } else {
                point.join(below)
            };
            found.push((*version, names, own));
        }
    }
    // Version 2 first: where it controls something, version 1 cannot.
    found.sort_by_key(|(version, ..)| *version == Version::One);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let membership = "4:memory:/\n8:pids:/a\n0::/user.slice/x\n";
        let mounts = "\
            30 20 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            31 20 0:27 / /sys/fs/cgroup/pids rw,relatime shared:1 - cgroup cgroup rw,pids\n\
            32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = memberships(membership, mounts);
        let places: Vec<_> = found
            .iter()
            .map(|(version, _, own)| (*version, own.to_str().unwrap()))
            .collect();
        assert_eq!(
            places,
            [
                (Version::Two, "/sys/fs/cgroup/unified/user.slice/x"),
                (Version::One, "/sys/fs/cgroup/memory"),
                (Version::One, "/sys/fs/cgroup/pids/a"),
            ]
        );
    }

    #[test]
    fn a_limit_that_nothing_controls_is_told() {
        let limits = Limits {
            memory: Some(1),
            pids: Some(2),
            ..Limits::default()
        };
        assert_eq!(unlimited(&limits).len(), 2);
        assert!(missing(&limits, |_| true).is_empty());
    }
}
