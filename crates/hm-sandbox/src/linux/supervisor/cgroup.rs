//! Memory, processor and process limits by cgroups: version 2 where its controllers are delegated to us,
//! version 1 as root.
//!
//! A run has one directory of its own in each hierarchy, which bounds the memory of all its steps together, and in it one
//! for each step at one time, used by one step after another. What a supervisor that was killed left is empty and goes when
//! the next one begins.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::hierarchies::{RunDirectory, Version, memberships};
use super::memory;
use crate::linux::protocol::Identity;
use hm_vm::Limits;

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

/// Where cgroups for steps can be made.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    /// The run's own directory in each hierarchy, by what it controls.
    controllers: BTreeMap<Controller, (Version, PathBuf)>,
    made: u64,
    free: Vec<StepCgroup>,
    runs: Vec<RunDirectory>,
    /// What all steps together may have of the memory.
    memory: Option<u64>,
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
        found.bound_memory();
        found
    }

    /// Bounds the memory of all steps together, so that what runs out of it is a step, and nothing else of the machine.
    fn bound_memory(&mut self) {
        let Some((version, run)) = self.controllers.get(&Controller::Memory) else {
            return;
        };
        let Some(bound) = memory::bound() else { return };
        let file = match version {
            Version::Two => "memory.max",
            Version::One => "memory.limit_in_bytes",
        };
        if std::fs::write(run.join(file), bound.to_string()).is_ok() {
            self.memory = Some(bound);
        }
    }

    /// What all steps together may have of the memory, where that is bounded.
    pub(super) const fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Makes the run's directory below `parent`, or finds it there.
    fn run(&mut self, parent: &Path) -> Option<PathBuf> {
        let own = self.runs.iter().find(|run| run.path.parent() == Some(parent));
        if let Some(own) = own {
            return Some(own.path.clone());
        }
        let made = RunDirectory::make(parent)?;
        let path = made.path.clone();
        self.runs.push(made);
        Some(path)
    }

    /// Version 2: the nearest ancestor below which we may make a directory that controls something.
    fn adopt_unified(&mut self, identity: Identity, own: &Path) {
        for ancestor in own
            .ancestors()
            .take_while(|path| path.join("cgroup.procs").exists())
        {
            let may_move = identity == Identity::Root
                || rustix::fs::access(ancestor.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok();
            let Some(run) = may_move.then(|| self.run(ancestor)).flatten() else {
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
            let _ = std::fs::remove_dir(&run);
            self.runs.retain(|made| made.path != run);
        }
    }

    fn adopt_one(&mut self, names: &[String], own: &Path) {
        for (controller, name) in CONTROLLERS {
            if names.iter().any(|offer| offer == name)
                && !self.controllers.contains_key(&controller)
                && let Some(run) = self.run(own)
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
        self.runs.iter().for_each(RunDirectory::remove);
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
        self.kills_before = self.kills();
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

    /// Whether [`StepCgroup::ran_out_of_memory`] would know.
    pub(super) fn counts_kills(&self) -> bool {
        self.controllers.contains_key(&Controller::Memory)
    }

    /// Whether the kernel killed a process here for want of memory since the limits were set.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.kills() > self.kills_before
    }

    /// Its directory of version 2, where there is one.
    pub(super) fn unified(&self) -> Option<&Path> {
        let mut all = self.controllers.values();
        all.find_map(|(version, directory)| (*version == Version::Two).then_some(directory.as_path()))
    }

    /// Its directories of version 1 by the names of their controllers.
    pub(super) fn hierarchies(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        CONTROLLERS.iter().filter_map(|(controller, name)| {
            let (version, directory) = self.controllers.get(controller)?;
            (*version == Version::One).then_some((*name, directory.as_path()))
        })
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
    .map(|(_, _, name)| format!("the {name} limit is not enforced, and {name} is not limited: this machine gives hm no {name} cgroup (`hm doctor` tells more)"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
