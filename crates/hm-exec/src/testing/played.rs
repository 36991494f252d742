//! Runs a build to its end and keeps what it told.

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt;
use hm_plugin_protocol::events::{BuildEvent, StdStream, StepEndStatus};
use uuid::Uuid;

use crate::{
    BackendError, BuildOutcome, BuildStatus, ExecutionBackend, Plan, Result, RunOptions, RunRequest,
    SourceMeta, StepStatus,
};

/// A build that has ended.
#[derive(Debug)]
pub struct Played {
    /// Every event, in order.
    pub events: Vec<BuildEvent>,
    /// How the build ended.
    pub outcome: Result<BuildOutcome>,
}

/// A request to run a plan on a worktree, with a fresh run id.
#[must_use]
pub fn request(plan: Plan, repo_root: &Path, options: RunOptions) -> RunRequest {
    RunRequest {
        run_id: Uuid::new_v4(),
        plan,
        repo_root: repo_root.to_owned(),
        pipeline_slug: "ci".into(),
        env: BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
        source: SourceMeta::default(),
        options,
        cloud_pipeline_slug: None,
    }
}

/// Starts a build, calls `seen` with its control for every event, and waits for its end.
///
/// # Errors
/// When the build cannot be started.
pub async fn play(
    backend: &dyn ExecutionBackend,
    request: RunRequest,
    mut seen: impl FnMut(&BuildEvent, &crate::Control),
) -> Result<Played> {
    let (mut stream, control) = backend.start(request).await?.into_parts();
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        seen(&event, &control);
        events.push(event);
    }
    Ok(Played {
        events,
        outcome: control.wait().await,
    })
}

impl Played {
    /// The verdict.
    ///
    /// # Errors
    /// When the build broke.
    pub fn status(&self) -> Result<BuildStatus, &BackendError> {
        self.outcome.as_ref().map(|outcome| outcome.status)
    }

    /// How each step ended, by key.
    #[must_use]
    pub fn steps(&self) -> BTreeMap<&str, StepStatus> {
        let outcome = self.outcome.as_ref().ok();
        let steps = outcome.into_iter().flat_map(|outcome| &outcome.steps);
        steps.map(|step| (step.key.as_str(), step.status)).collect()
    }

    /// A step's id, by its key.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<Uuid> {
        self.events.iter().find_map(|event| match event {
            BuildEvent::StepQueued {
                step_id, key: found, ..
            } if found == key => Some(*step_id),
            _ => None,
        })
    }

    /// A step's output on one stream; its lines ended by `\n`, but where a piece goes on.
    #[must_use]
    pub fn output(&self, key: &str, wanted: StdStream) -> String {
        let id = self.id(key);
        let mut text = String::new();
        for event in &self.events {
            if let BuildEvent::StepLog {
                step_id,
                stream,
                line,
                partial,
                service: None,
                ..
            } = event
                && Some(*step_id) == id
                && *stream == wanted
            {
                text.push_str(line);
                if !partial {
                    text.push('\n');
                }
            }
        }
        text
    }

    /// How a step's `step_end` says that it ended: its code, its status, and its message.
    #[must_use]
    pub fn end(&self, key: &str) -> Option<(i32, Option<StepEndStatus>, Option<&str>)> {
        let id = self.id(key);
        self.events.iter().find_map(|event| match event {
            BuildEvent::StepEnd {
                step_id,
                exit_code,
                status,
                message,
                ..
            } if Some(*step_id) == id && *status != Some(StepEndStatus::Skipped) => {
                Some((*exit_code, *status, message.as_deref()))
            }
            _ => None,
        })
    }

    /// Why a step was skipped.
    #[must_use]
    pub fn skipped(&self, key: &str) -> Option<&str> {
        let id = self.id(key);
        self.events.iter().find_map(|event| match event {
            BuildEvent::StepEnd {
                step_id,
                status: Some(StepEndStatus::Skipped),
                message,
                ..
            } if Some(*step_id) == id => message.as_deref(),
            _ => None,
        })
    }

    /// Why a started step was no cache hit.
    #[must_use]
    pub fn miss(&self, key: &str) -> Option<&str> {
        let id = self.id(key);
        self.events.iter().find_map(|event| match event {
            BuildEvent::StepStart {
                step_id, cache_miss, ..
            } if Some(*step_id) == id => cache_miss.as_deref(),
            _ => None,
        })
    }
}
