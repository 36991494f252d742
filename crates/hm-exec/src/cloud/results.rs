//! How a build's steps ended, by its events.

use std::collections::HashMap;

use hm_plugin_protocol::events::{BuildEndStatus, BuildEvent, StepEndStatus};
use hm_plugin_protocol::executor::SnapshotRef;
use uuid::Uuid;

use crate::{BuildStatus, StepResultSummary, StepStatus};

/// What the events told so far.
#[derive(Debug, Default)]
pub(super) struct Results {
    steps: Vec<StepResultSummary>,
    places: HashMap<Uuid, usize>,
    pub(super) exit_code: Option<i32>,
}

impl Results {
    /// Takes one event in.
    pub(super) fn take(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::StepQueued { step_id, key, .. } => {
                self.places.insert(*step_id, self.steps.len());
                self.steps.push(StepResultSummary {
                    step_id: *step_id,
                    key: key.clone(),
                    status: StepStatus::Skipped,
                    exit_code: None,
                    duration_ms: 0,
                    snapshot: None,
                });
            }
            BuildEvent::StepCacheHit { step_id, tag, .. } => {
                if let Some(step) = self.step(*step_id) {
                    step.status = StepStatus::CacheHit;
                    step.snapshot = Some(SnapshotRef(tag.clone()));
                }
            }
            BuildEvent::StepEnd {
                step_id,
                exit_code,
                duration_ms,
                snapshot,
                status,
                ..
            } => {
                if let Some(step) = self.step(*step_id) {
                    step.status = StepEndStatus::of(*status, *exit_code).into();
                    step.exit_code = (step.status != StepStatus::Skipped).then_some(*exit_code);
                    step.duration_ms = *duration_ms;
                    step.snapshot.clone_from(snapshot);
                }
            }
            BuildEvent::BuildEnd { exit_code, .. } => self.exit_code = Some(*exit_code),
            _ => {}
        }
    }

    /// The verdict, once `build_end` was there.
    pub(super) fn status(&self) -> Option<BuildStatus> {
        self.exit_code.map(|code| BuildEndStatus::of(code).into())
    }

    /// Every step that was told of; a canceled build's steps that never ran count as canceled.
    pub(super) fn into_steps(mut self) -> Vec<StepResultSummary> {
        if self.status() == Some(BuildStatus::Canceled) {
            let skipped = self
                .steps
                .iter_mut()
                .filter(|step| step.status == StepStatus::Skipped);
            skipped.for_each(|step| step.status = StepStatus::Canceled);
        }
        self.steps
    }

    fn step(&mut self, id: Uuid) -> Option<&mut StepResultSummary> {
        self.places.get(&id).map(|place| &mut self.steps[*place])
    }
}
