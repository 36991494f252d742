//! What a build's log says, short of its lines: what each step came to, and where in the log its lines are.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use hm_plugin_protocol::events::{
    self, BuildEndStatus, BuildEvent, MoreArtifacts, StepEndStatus, TestSummary,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use super::pen::Pens;
use super::said::{Said, said};
use crate::BuildId;
use crate::logs::{LogBus, LogError, Record};
use crate::model::{Build, JobState};

/// How much of a log is read at a time.
pub(super) const PIECE: usize = 256 << 10;
/// How many records one [`Mark`] stands for.
pub(super) const BLOCK: u64 = 1024;
/// How many artifacts of a step are named.
const NAMED: usize = 100;
/// How many characters of a text.
const TEXT: usize = 2000;
/// How many marks all outlines that are kept have together: about 48 MB.
const MARKS: usize = 1_000_000;
/// How many outlines are kept.
const KEPT: usize = 256;

/// Where lines of a step are: the first of them in a block of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) seq: u64,
    /// How many lines the step has before.
    pub(super) lines: u64,
    /// The pens before.
    pub(super) pens: Pens,
}

/// What an artifact is.
#[derive(Debug, Clone)]
pub(super) struct Artifact {
    pub(super) path: String,
    pub(super) bytes: u64,
}

/// What a step came to in the current attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct StepOutline {
    /// The record that last changed it, lines aside.
    pub(super) changed: u64,
    pub(super) state: Option<JobState>,
    pub(super) soft_failed: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) duration_ms: Option<u64>,
    pub(super) message: Option<String>,
    pub(super) image: Option<String>,
    pub(super) cached: bool,
    /// Why its cache did not serve.
    pub(super) cache_miss: Option<String>,
    /// How often it was tried.
    pub(super) tries: u32,
    pub(super) artifacts: Vec<Artifact>,
    /// Those that are not named.
    pub(super) more_artifacts: u64,
    pub(super) tests: Option<TestSummary>,
    pub(super) lines: u64,
    pub(super) pens: Pens,
    pub(super) marks: Vec<Mark>,
}

/// A note of the server.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) seq: u64,
    pub(super) text: String,
}

/// What a build's log says, short of its lines.
#[derive(Debug)]
pub(super) struct Outline {
    build: BuildId,
    /// The last record that is in it.
    pub(super) seq: u64,
    pub(super) attempt: i64,
    /// The attempt's first record.
    pub(super) began: u64,
    pub(super) notes: Vec<Note>,
    pub(super) notices: Vec<String>,
    pub(super) steps: HashMap<Uuid, StepOutline>,
    /// The build's exit code, once it has one.
    pub(super) ended: Option<i32>,
    /// How many marks all steps have.
    marks: usize,
}

impl Outline {
    fn new(build: BuildId) -> Self {
        Self {
            build,
            seq: 0,
            attempt: 0,
            began: 0,
            notes: Vec::new(),
            notices: Vec::new(),
            steps: HashMap::new(),
            ended: None,
            marks: 0,
        }
    }

    /// Reads what is new.
    pub(super) async fn catch_up(&mut self, logs: &dyn LogBus) -> Result<(), LogError> {
        let mut reader = logs.read(self.build, self.seq + 1).await?;
        loop {
            let records = reader.next(PIECE).await?;
            if records.is_empty() {
                return Ok(());
            }
            for (seq, bytes) in records {
                self.seq = seq;
                // What a newer version wrote is passed over.
                if let Ok(record) = Record::decode(&bytes) {
                    self.take(record);
                }
            }
        }
    }

    fn take(&mut self, record: Record) {
        if record.attempt > self.attempt {
            self.attempt = record.attempt;
            self.began = record.seq;
            self.steps.clear();
            self.marks = 0;
            self.notices.clear();
        }
        let seq = record.seq;
        if let Some(text) = record.note {
            self.notes.push(Note { seq, text });
        }
        match record.event {
            Some(BuildEvent::BuildStart { header, .. }) => {
                self.notices = header.map(|header| header.notices).unwrap_or_default();
            }
            Some(BuildEvent::BuildEnd { exit_code, .. }) => self.end(seq, exit_code),
            Some(event) => {
                if let Some(id) = event.step_id() {
                    let step = self.steps.entry(id).or_default();
                    let before = step.marks.len();
                    step.take(seq, event);
                    self.marks += step.marks.len() - before;
                }
            }
            None => {}
        }
    }

    /// What has not ended will not, as the store has it.
    fn end(&mut self, seq: u64, exit_code: i32) {
        self.ended = Some(exit_code);
        for step in self.steps.values_mut() {
            if !step.state.is_some_and(JobState::is_terminal) {
                step.state = Some(self::left(exit_code));
                step.changed = seq;
            }
        }
    }

    /// Where a step stands of which the log says nothing.
    pub(super) fn untold(&self) -> JobState {
        self.ended.map_or(JobState::Pending, left)
    }
}

/// What becomes of a step that had not ended when the build did.
const fn left(exit_code: i32) -> JobState {
    match BuildEndStatus::of(exit_code) {
        BuildEndStatus::Canceled => JobState::Canceled,
        _ => JobState::Skipped,
    }
}

impl StepOutline {
    fn take(&mut self, seq: u64, event: BuildEvent) {
        if let Some(said) = said(&event) {
            self.line(seq, &said);
            if matches!(event, BuildEvent::StepLog { .. }) {
                return;
            }
        }
        self.changed = seq;
        match event {
            BuildEvent::StepQueued { .. } => self.state = Some(JobState::Scheduled),
            BuildEvent::StepStart {
                attempt: Some(attempt),
                ..
            } => self.tries = attempt,
            BuildEvent::StepStart {
                image, cache_miss, ..
            } => {
                self.state = Some(JobState::Running);
                self.image = image.map(|image| short(&image));
                self.cache_miss = cache_miss.map(|why| short(&why));
            }
            BuildEvent::StepCacheHit {
                artifacts,
                more_artifacts,
                ..
            } => {
                self.state = Some(JobState::Passed);
                self.exit_code = Some(0);
                self.cached = true;
                self.list(artifacts, more_artifacts);
            }
            BuildEvent::StepEnd {
                exit_code,
                duration_ms,
                status,
                message,
                artifacts,
                more_artifacts,
                ..
            } => {
                let status = StepEndStatus::of(status, exit_code);
                self.state = Some(status.into());
                self.soft_failed = status == StepEndStatus::SoftFailed;
                if status != StepEndStatus::Skipped {
                    self.exit_code = Some(exit_code);
                    self.duration_ms = Some(duration_ms);
                }
                self.message = message.map(|message| short(&message));
                self.list(artifacts, more_artifacts);
            }
            _ => {}
        }
    }

    fn list(&mut self, artifacts: Vec<events::Artifact>, more: Option<MoreArtifacts>) {
        for artifact in artifacts {
            if self.artifacts.len() < NAMED {
                self.artifacts.push(Artifact {
                    path: short(&artifact.path),
                    bytes: artifact.bytes,
                });
            } else {
                self.more_artifacts += 1;
            }
            if let Some(tests) = artifact.tests {
                add(self.tests.get_or_insert_default(), tests);
            }
        }
        if let Some(more) = more {
            self.more_artifacts = self.more_artifacts.saturating_add(more.count);
            if let Some(tests) = more.tests {
                add(self.tests.get_or_insert_default(), tests);
            }
        }
    }

    fn line(&mut self, seq: u64, said: &Said<'_>) {
        if self
            .marks
            .last()
            .is_none_or(|mark| mark.seq / BLOCK < seq / BLOCK)
        {
            self.marks.push(Mark {
                seq,
                lines: self.lines,
                pens: self.pens,
            });
        }
        self.lines += 1;
        said.write_with(&mut self.pens);
    }
}

fn add(all: &mut TestSummary, tests: TestSummary) {
    all.total = all.total.saturating_add(tests.total);
    all.failed = all.failed.saturating_add(tests.failed);
    all.skipped = all.skipped.saturating_add(tests.skipped);
    let room = NAMED.saturating_sub(all.failures.len());
    let names = tests.failures.iter().take(room);
    all.failures.extend(names.map(|name| short(name)));
}

/// What is kept of a text of a step: an outline stays in memory, and nobody reads more above a log.
fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
    }
}

/// An outline that several pages share: whoever comes first reads what is new.
pub(super) type Shared = Arc<Mutex<Outline>>;

/// The outlines of the builds that were looked at last.
#[derive(Default)]
pub(crate) struct Outlines {
    kept: std::sync::Mutex<Vec<(BuildId, Shared)>>,
}

impl Outlines {
    /// The outline of a build, as new as its log; an empty one where the log is kept no longer.
    pub(super) async fn of(
        &self,
        build: &Build,
        logs: &dyn LogBus,
    ) -> Result<OwnedMutexGuard<Outline>, LogError> {
        let shared = if build.log_removed_at.is_some() {
            self.locked().retain(|(id, _)| *id != build.id);
            Shared::new(Mutex::new(Outline::new(build.id)))
        } else {
            self.shared(build.id)
        };
        let mut outline = shared.lock_owned().await;
        if build.log_removed_at.is_none() {
            outline.catch_up(logs).await?;
        }
        Ok(outline)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(BuildId, Shared)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self, build: BuildId) -> Shared {
        let mut kept = self.locked();
        let found = kept.iter().position(|(id, _)| *id == build);
        let entry = match found {
            Some(place) => kept.remove(place),
            None => (build, Shared::new(Mutex::new(Outline::new(build)))),
        };
        let shared = Arc::clone(&entry.1);
        let mut room = MARKS;
        // The last one was looked at last. One that is in use is small, or will be counted the next time.
        let mut fits = kept.len().saturating_sub(KEPT - 1);
        for (place, (_, outline)) in kept.iter().enumerate().rev() {
            let marks = outline.try_lock().map_or(0, |outline| outline.marks);
            match room.checked_sub(marks) {
                Some(rest) => room = rest,
                None => {
                    fits = fits.max(place + 1);
                    break;
                }
            }
        }
        kept.drain(..fits);
        kept.push(entry);
        shared
    }
}
