//! What was seen of a root file system at one moment: what identifies it, and what changed since another moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The state that was seen last, in the directory of states.
const LATEST: &str = "latest";

/// How many states are remembered, to say what changed since.
const REMEMBERED: usize = 16;

/// How many changes are named.
const NAMED: usize = 2;

/// Changes with what a state is made of.
const FORM: &str = "1";

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Tells it from what else may have the name.
    pub(super) mark: u64,
    /// What the kernel said of the file when `mark` was made of its content.
    pub(super) seen: u64,
    pub(super) is_directory: bool,
}

/// A directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directory {
    /// What the kernel said of it. It changes with each file that comes or goes, and is no part of what identifies it.
    pub(super) seen: u64,
    /// By name.
    pub(super) entries: Vec<Entry>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Variables, settings and what else is no file.
    pub(super) values: BTreeMap<String, u64>,
    /// What the kernel said of the package database.
    pub(super) packages_seen: u64,
    pub(super) packages: Vec<(String, u64)>,
    pub(super) directories: BTreeMap<String, Directory>,
}

impl State {
    /// Identifies it, not when it was seen.
    pub(super) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str, mark: u64| {
            hasher.update(&text.len().to_le_bytes());
            hasher.update(text.as_bytes());
            hasher.update(&mark.to_le_bytes());
        };
        add(FORM, 0);
        for (name, mark) in &self.values {
            add(name, *mark);
        }
        add("packages", self.packages.len() as u64);
        for (name, mark) in &self.packages {
            add(name, *mark);
        }
        for (path, directory) in &self.directories {
            add(path, directory.entries.len() as u64);
            for entry in &directory.entries {
                add(&entry.name, entry.mark);
            }
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The state that was seen last; an empty one where there is none or it cannot be read.
    pub(super) fn latest(states: &Path) -> Self {
        read(&states.join(LATEST)).unwrap_or_default()
    }

    /// Remembers it, as far as the disk allows: without it the next look takes longer, and says less.
    pub(super) fn remember(&self, states: &Path, digest: &str) {
        let Ok(bytes) = postcard::to_stdvec(self) else {
            return;
        };
        let temporary = states.join(format!(".{}", uuid::Uuid::new_v4().simple()));
        let written = std::fs::create_dir_all(states)
            .and_then(|()| std::fs::write(&temporary, &bytes))
            .and_then(|()| std::fs::copy(&temporary, states.join(digest)))
            .and_then(|_| std::fs::rename(&temporary, states.join(LATEST)));
        if let Err(error) = written {
            tracing::debug!(%error, "cannot remember the state of an image");
            let _ = std::fs::remove_file(&temporary);
        }
        for (_, path) in remembered(states).into_iter().skip(REMEMBERED) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn read(path: &Path) -> Option<State> {
    postcard::from_bytes(&std::fs::read(path).ok()?).ok()
}

/// The states that are remembered, the newest first.
fn remembered(states: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = std::fs::read_dir(states).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name() != LATEST)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found
}

/// What changed since the newest state that `was` recognises by its digest, in a few words.
pub(super) fn changes_since(states: &Path, digest: &str, was: &dyn Fn(&str) -> bool) -> Option<String> {
    let before = remembered(states).into_iter().find_map(|(_, path)| {
        let name = path.file_name()?.to_str()?;
        was(name).then(|| read(&path)).flatten()
    })?;
    let changes = changes(&before, &read(&states.join(digest))?);
    let named = changes.get(..NAMED).unwrap_or(&changes).join(", ");
    match changes.len().saturating_sub(NAMED) {
        _ if changes.is_empty() => None,
        0 => Some(named),
        more => Some(format!("{named} (+{more} more)")),
    }
}

/// What came (`+`), went (`-`) or changed: packages first.
fn changes(before: &State, now: &State) -> Vec<String> {
    let mut changes = Vec::new();
    let packages = |state: &State| {
        let mut marks: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (name, mark) in &state.packages {
            marks.entry(name.clone()).or_default().push(*mark);
        }
        marks
    };
    differences("", &packages(before), &packages(now), &mut changes);
    differences("", &before.values, &now.values, &mut changes);
    let paths: BTreeSet<_> = before.directories.keys().chain(now.directories.keys()).collect();
    for path in paths {
        match (before.directories.get(path), now.directories.get(path)) {
            (Some(before), Some(now)) => {
                let marks = |directory: &Directory| -> BTreeMap<String, u64> {
                    let entries = directory.entries.iter();
                    entries.map(|entry| (entry.name.clone(), entry.mark)).collect()
                };
                if before.entries != now.entries {
                    let path = format!("{}/", path.trim_end_matches('/'));
                    differences(&path, &marks(before), &marks(now), &mut changes);
                }
            }
            // What is in a directory that came or went is said of the directory above, where that was seen.
            (before, _) => {
                let above = Path::new(path)
                    .parent()
                    .and_then(Path::to_str)
                    .unwrap_or_default();
                if !now.directories.contains_key(above) {
                    let sign = if before.is_some() { "-" } else { "+" };
                    changes.push(format!("{sign}{path}"));
                }
            }
        }
    }
    changes
}

fn differences<M: PartialEq>(
    above: &str,
    before: &BTreeMap<String, M>,
    now: &BTreeMap<String, M>,
    changes: &mut Vec<String>,
) {
    let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    for name in names {
        let sign = match (before.get(name), now.get(name)) {
            (Some(before), Some(now)) if before == now => continue,
            (Some(_), Some(_)) => "",
            (None, _) => "+",
            (_, None) => "-",
        };
        changes.push(format!("{sign}{above}{name}"));
    }
}
