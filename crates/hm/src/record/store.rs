//! Where recorded runs lie, and how one is found again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::reader::Events;
use super::{Recorder, RunRecord};
use crate::fail::{DATA_DIR_HINT, Failure, Result};

/// How many runs are kept, at most.
const RETAINED: usize = 200;
/// How many bytes of events the kept runs have, at most. The newest run is kept whatever it has.
const RETAINED_BYTES: u64 = 2 << 30;

/// All recorded runs of one data directory.
#[derive(Debug, Clone)]
pub struct RunStore {
    root: PathBuf,
}

/// One recorded run.
#[derive(Debug, Clone)]
pub struct Run {
    dir: PathBuf,
}

impl RunStore {
    /// The runs under a data directory.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("runs"),
        }
    }

    /// Begins a record.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn begin(&self, record: &mut RunRecord, plan: &str) -> Result<Recorder> {
        let dir = self.root.join(record.run_id.to_string());
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&dir).map_err(|error| {
            Failure::usage(
                format!("cannot create {}: {error}", dir.display()),
                [DATA_DIR_HINT],
            )
        })?;
        let run = Run { dir };
        let path = run.events_path();
        let events = private(&path).map_err(Failure::io("cannot create", &path))?;
        events.lock().map_err(Failure::io("cannot lock", &path))?;
        let path = run.plan_path();
        private(&path)
            .and_then(|mut file| file.write_all(plan.as_bytes()))
            .map_err(Failure::io("cannot write", &path))?;
        record.plan_digest = Some(blake3::hash(plan.as_bytes()).to_hex().to_string());
        run.write(record)?;
        Ok(Recorder::new(run, events))
    }

    /// All runs, the newest first.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::io("cannot read", &self.root)(error)),
        };
        let mut runs: Vec<(SystemTime, Run)> = entries
            .filter_map(|entry| {
                Some(Run {
                    dir: entry.ok()?.path(),
                })
            })
            .filter_map(|run| Some((fs::metadata(run.plan_path()).ok()?.modified().ok()?, run)))
            .collect();
        runs.sort_by(|left, right| right.0.cmp(&left.0).then_with(|| right.1.dir.cmp(&left.1.dir)));
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// The run whose id begins with `prefix`, or the newest of `repo_root`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, prefix: Option<&str>, repo_root: Option<&Path>) -> Result<Run> {
        let runs = self.runs()?;
        let Some(prefix) = prefix else {
            let newest = runs.into_iter().find(|run| {
                run.record()
                    .is_ok_and(|record| repo_root.is_none_or(|root| record.repo_root == root))
            });
            return newest.ok_or_else(|| {
                Failure::usage("no run of this repository is recorded", ["`hm run` makes one"])
            });
        };
        let mut matching = runs.into_iter().filter(|run| run.id().starts_with(prefix));
        match (matching.next(), matching.next()) {
            (Some(run), None) => Ok(run),
            (None, _) => Err(Failure::usage(
                format!("no recorded run begins with `{prefix}`"),
                ["`hm builds --all` lists them"],
            )),
            (Some(_), Some(_)) => Err(Failure::plain_usage(format!(
                "more than one recorded run begins with `{prefix}`"
            ))),
        }
    }

    /// Removes the oldest runs beyond those kept, and more of them while the disk has less than `min_free` bytes left; never
    /// the newest, nor one that still runs.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn retain_newest(&self, min_free: u64) -> Result<()> {
        self.retain(RETAINED, RETAINED_BYTES)?;
        // What snapshots may not take up, records may not either.
        let mut runs = self.runs()?;
        while runs.len() > 1 && self.free_bytes().is_some_and(|free| free < min_free) {
            let Some(oldest) = runs.pop() else { break };
            if !oldest.is_running() {
                let _ = oldest.remove();
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.root).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Removes the records that cannot be read; never one of a run that still runs. Returns how many.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn remove_damaged(&self) -> Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let run = Run { dir: entry.path() };
            let is_whole = run.record().is_ok() && run.plan().is_ok() && run.events(false).is_ok();
            if !is_whole && !run.is_running() {
                hm_fs::remove_any(&run.dir).map_err(Failure::io("cannot remove", &run.dir))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn retain(&self, most: usize, most_bytes: u64) -> Result<()> {
        let mut bytes: u64 = 0;
        for (newer, run) in self.runs()?.into_iter().enumerate() {
            let events = fs::metadata(run.events_path()).map_or(0, |metadata| metadata.len());
            bytes = bytes.saturating_add(events);
            let kept = newer == 0 || (newer < most && bytes <= most_bytes);
            if !kept && !run.is_running() {
                // Another hm may be removing it too.
                let _ = run.remove();
            }
        }
        Ok(())
    }
}

impl Run {
    /// The run's whole id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.dir
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }

    /// The id's beginning, as shown to people.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id().get(..8).unwrap_or_else(|| self.id())
    }

    /// What was asked, and how it ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record(&self) -> Result<RunRecord> {
        let path = self.dir.join("run.json");
        let text = hm_fs::read(&path).map_err(Failure::io("cannot read", &path))?;
        let text = text.ok_or_else(|| self.damaged("run.json"))?;
        // An earlier hm wrote it without a digest.
        let content = if text.starts_with(b"{") {
            Some(text.as_slice())
        } else {
            hm_fs::unseal(&text)
        };
        content
            .and_then(|content| serde_json::from_slice(content).ok())
            .ok_or_else(|| self.damaged("run.json"))
    }

    fn damaged(&self, file: &str) -> Failure {
        Failure::usage(
            format!(
                "the record of run {} is damaged: {file} is not what was written there",
                self.short_id()
            ),
            ["`hm cache clean` removes damaged records"],
        )
    }

    /// The plan, byte for byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn plan(&self) -> Result<String> {
        let path = self.plan_path();
        let text = hm_fs::read(&path).map_err(Failure::io("cannot read", &path))?;
        let text = text.and_then(|text| String::from_utf8(text).ok());
        let text = text.ok_or_else(|| self.damaged("plan.json"))?;
        match self.record()?.plan_digest {
            Some(digest) if blake3::hash(text.as_bytes()).to_hex().as_str() != digest => {
                Err(self.damaged("plan.json"))
            }
            _ => Ok(text),
        }
    }

    /// The recorded events, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events(&self, follow: bool) -> Result<Events> {
        let path = self.events_path();
        let mut file = hm_fs::open_existing(&path).map_err(|_| self.damaged("events.jsonl"))?;
        if !file.metadata().is_ok_and(|there| there.is_file()) {
            return Err(self.damaged("events.jsonl"));
        }
        // Those of a run that goes on, or that was killed, have no digest.
        if let Some(digest) = self.record()?.events_digest {
            let found = hm_fs::digest_of(&mut file).map_err(Failure::io("cannot read", &path))?;
            if found != digest {
                return Err(self.damaged("events.jsonl"));
            }
            file.rewind().map_err(Failure::io("cannot read", &path))?;
        }
        Ok(Events::new(self.clone(), file, follow))
    }

    /// Whether the process that records it is alive.
    #[must_use]
    pub fn is_running(&self) -> bool {
        hm_fs::open_existing(&self.events_path())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Replaces `run.json` in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, record: &RunRecord) -> Result<()> {
        let path = self.dir.join("run.json");
        let half = self.dir.join("run.json.new");
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| Failure::io("cannot write", &path)(error.into()))?;
        private(&half)
            .and_then(|mut file| file.write_all(&hm_fs::seal(&text)))
            .and_then(|()| hm_fs::rename_over(&half, &path))
            .map_err(Failure::io("cannot write", &path))
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        hm_fs::remove_any(&self.dir)
    }

    fn plan_path(&self) -> PathBuf {
        self.dir.join("plan.json")
    }

    fn events_path(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }
}

/// A file that only its owner may read: values given by `-e` and a step's output may be secret.
fn private(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three runs with records of these many bytes, the newest last.
    fn store(sizes: &[usize]) -> (tempfile::TempDir, RunStore) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = RunStore::new(dir.path());
        for (age, size) in sizes.iter().rev().enumerate() {
            let run = Run {
                dir: store.root.join((sizes.len() - age).to_string()),
            };
            fs::create_dir_all(&run.dir).expect("a run");
            fs::write(run.events_path(), vec![b'x'; *size]).expect("events");
            let plan = File::create(run.plan_path()).expect("a plan");
            let when = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 - age as u64);
            plan.set_modified(when).expect("a time");
        }
        (dir, store)
    }

    fn left(store: &RunStore) -> Vec<String> {
        let runs = store.runs().expect("runs");
        runs.iter().map(|run| run.id().to_owned()).collect()
    }

    #[test]
    fn the_oldest_go_beyond_a_number_and_beyond_bytes() {
        let (_dir, runs) = store(&[10, 10, 10]);
        runs.retain(3, 30).expect("kept");
        assert_eq!(left(&runs), ["3", "2", "1"]);
        runs.retain(3, 29).expect("kept");
        assert_eq!(left(&runs), ["3", "2"]);
        runs.retain(1, 29).expect("kept");
        assert_eq!(left(&runs), ["3"]);
    }

    #[test]
    fn the_newest_and_a_running_one_stay() {
        let (_dir, runs) = store(&[10, 10, 10]);
        let running = File::open(runs.root.join("1/events.jsonl")).expect("events");
        running.lock().expect("a lock");
        runs.retain(3, 1).expect("kept");
        assert_eq!(left(&runs), ["3", "1"]);
    }
}
