//! Reads a run's record, while it is written or afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use futures::StreamExt;
use hm_exec::EventStream;
use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_plugin_protocol::old::Upgrade;
use uuid::Uuid;

use super::Run;

const POLL_EVERY: Duration = Duration::from_millis(50);

/// The events of a recorded run. A last line that was cut short by a kill is left out, and so is a line that
/// a newer hm wrote and this one cannot read.
#[derive(Debug)]
pub struct Events {
    run: Run,
    file: BufReader<File>,
    line: Vec<u8>,
    upgrade: Upgrade,
    ready: VecDeque<BuildEvent>,
    follow: bool,
    ended: bool,
}

impl Events {
    pub(super) fn new(run: Run, file: File, follow: bool) -> Self {
        Self {
            run,
            file: BufReader::with_capacity(1 << 16, file),
            line: Vec::new(),
            upgrade: Upgrade::default(),
            ready: VecDeque::new(),
            follow,
            ended: false,
        }
    }

    /// The events as a renderer reads them.
    #[must_use]
    pub fn into_stream(self) -> EventStream {
        futures::stream::unfold(self, |mut events| async move {
            loop {
                if let Some(event) = events.next_written() {
                    return Some((event, events));
                }
                // Asked before the last look, so that what is written in between is not missed.
                let more = events.follow && !events.ended && events.run.is_running();
                if more {
                    tokio::time::sleep(POLL_EVERY).await;
                } else {
                    let event = events.next_written()?;
                    return Some((event, events));
                }
            }
        })
        .boxed()
    }

    fn next_written(&mut self) -> Option<BuildEvent> {
        loop {
            match self.ready.pop_front() {
                Some(BuildEvent::Unknown) => continue,
                Some(event) => {
                    self.ended |= matches!(event, BuildEvent::BuildEnd { .. });
                    return Some(event);
                }
                None => {}
            }
            self.file.read_until(b'\n', &mut self.line).ok()?;
            if self.line.last() != Some(&b'\n') {
                return None;
            }
            if let Err(error) = self.upgrade.line(&self.line, &mut self.ready) {
                tracing::debug!(%error, "a line of a record is no event");
            }
            self.line.clear();
        }
    }
}

impl Iterator for Events {
    type Item = BuildEvent;

    fn next(&mut self) -> Option<BuildEvent> {
        self.next_written()
    }
}

/// What a record tells about its steps.
#[derive(Debug, Default)]
pub struct FinishedSteps {
    /// The keys of all steps, in order.
    pub keys: Vec<String>,
    /// What each step left, whether it passed or failed.
    pub snapshots: BTreeMap<String, SnapshotRef>,
    /// The steps that passed, or were in the cache.
    pub passed: BTreeSet<String>,
    /// The steps that failed or ran into a timeout.
    pub failed: BTreeSet<String>,
    /// What each step started from, where it was another step.
    pub parents: BTreeMap<String, String>,
    /// What each root step started from.
    pub images: BTreeMap<String, String>,
    /// The frozen source that the run saw.
    pub source_id: Option<String>,
}

impl FinishedSteps {
    /// Reads a record through.
    #[must_use]
    pub fn of(events: impl Iterator<Item = BuildEvent>) -> Self {
        let mut steps = Self::default();
        let mut keys: BTreeMap<Uuid, String> = BTreeMap::new();
        for event in events {
            steps.take(event, &mut keys);
        }
        steps
    }

    fn take(&mut self, event: BuildEvent, keys: &mut BTreeMap<Uuid, String>) {
        match event {
            BuildEvent::BuildStart { header, .. } => {
                self.source_id = header.and_then(|header| header.source_id)
            }
            BuildEvent::StepQueued {
                step_id,
                key,
                parent_key,
                ..
            } => {
                self.keys.push(key.clone());
                self.parents
                    .extend(parent_key.map(|parent| (key.clone(), parent)));
                keys.insert(step_id, key);
            }
            BuildEvent::StepStart { step_id, image, .. } => {
                if let (Some(key), Some(image)) = (keys.get(&step_id), image) {
                    self.images.insert(key.clone(), image);
                }
            }
            BuildEvent::StepCacheHit { step_id, tag, .. } => {
                if let Some(key) = keys.get(&step_id) {
                    self.passed.insert(key.clone());
                    self.snapshots.insert(key.clone(), SnapshotRef(tag));
                }
            }
            BuildEvent::StepEnd {
                step_id,
                exit_code,
                snapshot,
                status,
                ..
            } => {
                let Some(key) = keys.get(&step_id) else { return };
                match StepEndStatus::of(status, exit_code) {
                    StepEndStatus::Passed | StepEndStatus::SoftFailed => self.passed.insert(key.clone()),
                    StepEndStatus::Failed | StepEndStatus::TimedOut => self.failed.insert(key.clone()),
                    _ => false,
                };
                self.snapshots
                    .extend(snapshot.map(|snapshot| (key.clone(), snapshot)));
            }
            _ => {}
        }
    }
}
