//! Records of before version 2 of the wire form, read as today's events.
//!
//! Version 1 had four kinds that published readers do not know. What they said now stands in optional fields of the other
//! kinds: a skip and the artifacts in `step_end`, a service's line in `step_log`, a retry in a further `step_start`.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::events::{Artifact, BuildEvent, StdStream, TestSummary};

/// An event of a kind that is no longer written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OldEvent {
    /// A line of a service's output.
    ServiceLog {
        /// The step that ran meanwhile.
        step_id: Uuid,
        /// The service's name.
        service: String,
        /// Which stream it was written to.
        stream: StdStream,
        /// The text.
        line: String,
        /// When it was read.
        ts: DateTime<Utc>,
        /// The line goes on in the next event of this service and stream.
        #[serde(default)]
        partial: bool,
    },
    /// A file that a step made and that was kept, sent before the step's end or after its cache hit.
    StepArtifact {
        /// The step.
        step_id: Uuid,
        /// Where it was, relative to the workspace.
        path: String,
        /// Its size in bytes.
        bytes: u64,
        /// The BLAKE3 digest of its content, in hexadecimal.
        digest: String,
        /// What it says, where it is a JUnit report.
        #[serde(default)]
        tests: Option<TestSummary>,
    },
    /// A step failed and was tried again.
    StepRetry {
        /// The step.
        step_id: Uuid,
        /// The attempt that began.
        attempt: u32,
        /// How the attempt before ended.
        exit_code: i32,
    },
    /// A step did not run.
    StepSkipped {
        /// The step.
        step_id: Uuid,
        /// Why, in plain words.
        reason: String,
    },
}

impl OldEvent {
    /// The event as it is written today; an artifact is part of another one.
    #[must_use]
    pub fn into_event(self) -> Option<BuildEvent> {
        match self {
            Self::ServiceLog {
                step_id,
                service,
                stream,
                line,
                ts,
                partial,
            } => Some(BuildEvent::StepLog {
                step_id,
                stream,
                line,
                ts,
                partial,
                service: Some(service),
                attempt: None,
            }),
            Self::StepRetry {
                step_id,
                attempt,
                exit_code,
            } => Some(BuildEvent::StepStart {
                step_id,
                runner: String::new(),
                image: None,
                cache_miss: None,
                attempt: Some(attempt),
                previous_exit_code: Some(exit_code),
            }),
            Self::StepSkipped { step_id, reason } => Some(BuildEvent::skipped(step_id, reason)),
            Self::StepArtifact { .. } => None,
        }
    }
}

/// Reads the events of one record, old or new, in their order.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// The record is of version 1.
    is_old: bool,
    /// Artifacts whose step has not ended.
    artifacts: HashMap<Uuid, Vec<Artifact>>,
    /// A cache hit whose artifacts follow.
    hit: Option<BuildEvent>,
}

impl Upgrade {
    /// Reads one line of a record, and adds the events that are complete now. A kind that this version does not know adds
    /// [`BuildEvent::Unknown`].
    ///
    /// # Errors
    /// When the line is no event.
    pub fn line(&mut self, json: &[u8], out: &mut VecDeque<BuildEvent>) -> serde_json::Result<()> {
        match serde_json::from_slice(json)? {
            BuildEvent::Unknown => self.unknown(serde_json::from_slice(json).ok(), out),
            event => self.event(event, out),
        }
        Ok(())
    }

    /// Takes an event of a kind that is none of today's; `old` is what it was in version 1.
    pub fn unknown(&mut self, old: Option<OldEvent>, out: &mut VecDeque<BuildEvent>) {
        match old {
            Some(OldEvent::StepArtifact {
                step_id,
                path,
                bytes,
                digest,
                tests,
            }) => {
                let artifact = Artifact {
                    path,
                    bytes,
                    digest,
                    tests,
                };
                match &mut self.hit {
                    Some(BuildEvent::StepCacheHit {
                        step_id: hit,
                        artifacts,
                        ..
                    }) if *hit == step_id => artifacts.push(artifact),
                    _ => self.artifacts.entry(step_id).or_default().push(artifact),
                }
            }
            Some(OldEvent::StepRetry { step_id, .. }) => {
                self.artifacts.remove(&step_id);
                out.extend(old.and_then(OldEvent::into_event));
            }
            Some(old) => out.extend(old.into_event()),
            None => out.push_back(BuildEvent::Unknown),
        }
    }

    /// Takes an event of a kind of today's.
    pub fn event(&mut self, mut event: BuildEvent, out: &mut VecDeque<BuildEvent>) {
        match &mut event {
            BuildEvent::BuildStart { schema_version, .. } => self.is_old = *schema_version == Some(1),
            _ if !self.is_old => {}
            // Lines of other steps come between a hit and its artifacts, and nothing else does.
            BuildEvent::StepLog { .. } => {}
            BuildEvent::StepCacheHit { .. } => {
                out.extend(self.hit.replace(event));
                return;
            }
            _ => {
                out.extend(self.hit.take());
                if let BuildEvent::StepEnd {
                    step_id, artifacts, ..
                } = &mut event
                    && let Some(mut found) = self.artifacts.remove(step_id)
                {
                    artifacts.append(&mut found);
                }
            }
        }
        out.push_back(event);
    }

    /// Adds what is complete because the record ends here, or starts over.
    pub fn finish(&mut self, out: &mut VecDeque<BuildEvent>) {
        self.artifacts.clear();
        out.extend(self.hit.take());
    }
}
