//! An agent tells what its build does.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};
use uuid::Uuid;

use crate::JobId;
use crate::build::{Fault, LeaseError};
use crate::logs::{LogError, MAX_RECORD_BYTES, Record};
use crate::model::{Build, BuildState, JobChange, JobState};
use crate::queue::Fence;
use crate::state::App;

/// Into how many parts a lease is cut, in each of which events extend it once.
const EXTENDED: u32 = 10;

/// What an agent is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    /// The number of the event that is wanted next, counted from 1 within the attempt.
    pub(crate) next: u64,
    /// It shall stop.
    pub(crate) cancel: bool,
}

/// Why events were refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    #[error("events are missing: send from {next} on")]
    Gap { next: u64 },
    #[error("event {number}: {what}")]
    Bad { number: u64, what: &'static str },
    #[error(
        "event {number} is {bytes} bytes long in the log, more than the {MAX_RECORD_BYTES} that this server keeps: split what it says"
    )]
    TooLarge { number: u64, bytes: usize },
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl<T> From<T> for EventsError
where
    Fault: From<T>,
{
    fn from(error: T) -> Self {
        Self::Lease(LeaseError::Fault(error.into()))
    }
}

impl App {
    /// The build, when the fence's attempt is the one that may write to it.
    pub(crate) async fn held(&self, fence: Fence) -> Result<Build, LeaseError> {
        let build = self.store.build_by_id(fence.build).await?;
        let running = |build: &Build| {
            build.attempt == fence.attempt
                && matches!(
                    build.state,
                    BuildState::Running | BuildState::Failing | BuildState::Canceling
                )
        };
        build.filter(running).ok_or(LeaseError::Lost)
    }

    /// The lease holds on from this moment. Answers whether the agent shall stop: at once when it shall or the lease
    /// is lost, else after this time, which adds nothing to the lease.
    pub(crate) async fn hold(&self, fence: Fence, wait: Duration) -> Result<bool, LeaseError> {
        let mut watching = self.live.watch(fence.build);
        let over = tokio::time::sleep(wait.min(self.config.agents.hold()));
        tokio::pin!(over);
        let mut cancel = self.heartbeat(fence).await?.state == BuildState::Canceling;
        while !cancel {
            tokio::select! {
                () = watching.heard() => {}
                () = self.stopping.cancelled() => break,
                () = &mut over => break,
            }
            cancel = self.held(fence).await?.state == BuildState::Canceling;
        }
        Ok(cancel)
    }

    /// The lease holds on. Answers the build.
    async fn heartbeat(&self, fence: Fence) -> Result<Build, LeaseError> {
        let build = self.held(fence).await?;
        let until = self.clock.now() + self.config.agents.lease;
        if !self.queue.extend(fence, until).await? {
            return Err(LeaseError::Lost);
        }
        Ok(build)
    }

    /// Keeps events, the first of which has the number `first` within the attempt. It is safe to send again what
    /// was not acknowledged.
    pub(crate) async fn tell(
        &self,
        fence: Fence,
        first: u64,
        events: Vec<BuildEvent>,
    ) -> Result<Accepted, EventsError> {
        let mut live = self.live.lock(fence.build).await;
        // Fifty times a second is too often to write down that an agent is there.
        let pause = self.config.agents.lease / EXTENDED;
        let build = match live.extended {
            Some((attempt, at)) if attempt == fence.attempt && at.elapsed() < pause => {
                self.held(fence).await?
            }
            _ => {
                let at = Instant::now();
                let build = self.heartbeat(fence).await?;
                live.extended = Some((fence.attempt, at));
                build
            }
        };
        if live.jobs.is_none() {
            let jobs = self.store.jobs(build.id).await?;
            live.jobs = Some(jobs.into_iter().map(|job| job.id).collect());
        }
        let jobs = live.jobs.get_or_insert_default();
        let mut records = Vec::with_capacity(events.len());
        let mut changes = Vec::new();
        for (number, mut event) in (first..).zip(events) {
            check(&mut event, build.id.0, jobs).map_err(|what| EventsError::Bad { number, what })?;
            changes.extend(change(&event));
            let record = Record::event(build.base_seq.saturating_add(number), fence.attempt, event);
            let record = record.encode()?;
            let bytes = record.len();
            if bytes > MAX_RECORD_BYTES {
                return Err(EventsError::TooLarge { number, bytes });
            }
            records.push(record);
        }
        let head = match self.append(&build, first, &records).await {
            Err(LogError::Gap { head, .. }) => {
                let next = head.saturating_sub(build.base_seq) + 1;
                return Err(EventsError::Gap { next });
            }
            head => head?,
        };
        if !changes.is_empty()
            && !self
                .store
                .change_jobs(build.id, fence.attempt, &changes, Utc::now())
                .await?
        {
            return Err(LeaseError::Lost.into());
        }
        Ok(Accepted {
            next: head.saturating_sub(build.base_seq) + 1,
            cancel: build.state == BuildState::Canceling,
        })
    }

    async fn append(&self, build: &Build, first: u64, records: &[Bytes]) -> Result<u64, LogError> {
        let first = build.base_seq.saturating_add(first);
        if first <= build.base_seq {
            // Events are counted from 1; a 0 would reach into the attempt before.
            let head = self.logs.head(build.id).await?;
            return Err(LogError::Gap {
                build: build.id,
                head,
            });
        }
        self.logs.append(build.id, first, records).await
    }
}

/// Gives the build its own name, and refuses what is not this build's.
fn check(event: &mut BuildEvent, build: Uuid, jobs: &HashSet<JobId>) -> Result<(), &'static str> {
    match event {
        BuildEvent::BuildStart { run_id, .. } => *run_id = build,
        BuildEvent::BuildAccepted { build: accepted, .. } => accepted.run_id = build,
        BuildEvent::BuildEnd { .. } => {
            return Err("the server itself says build_end, once the agent has completed the build");
        }
        _ => {}
    }
    if event.step_id().is_some_and(|step| !jobs.contains(&JobId(step))) {
        return Err("its step_id is no job of this build: use the ids that came with the lease");
    }
    Ok(())
}

/// What an event says about a job.
fn change(event: &BuildEvent) -> Option<JobChange> {
    let to = |step: &Uuid, state| JobChange {
        id: JobId(*step),
        state,
        exit_code: None,
        soft_failed: false,
        message: None,
    };
    match event {
        BuildEvent::StepQueued { step_id, .. } => Some(to(step_id, JobState::Scheduled)),
        BuildEvent::StepStart {
            step_id,
            attempt: None,
            ..
        } => Some(to(step_id, JobState::Running)),
        BuildEvent::StepCacheHit { step_id, .. } => Some(JobChange {
            exit_code: Some(0),
            ..to(step_id, JobState::Passed)
        }),
        BuildEvent::StepEnd {
            step_id,
            exit_code,
            status,
            message,
            ..
        } => {
            let status = StepEndStatus::of(*status, *exit_code);
            Some(JobChange {
                exit_code: (status != StepEndStatus::Skipped).then_some(*exit_code),
                soft_failed: status == StepEndStatus::SoftFailed,
                message: message.clone(),
                ..to(step_id, status.into())
            })
        }
        _ => None,
    }
}
