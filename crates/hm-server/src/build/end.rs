//! A build ends: completed by its agent, given back, or canceled.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use hm_plugin_protocol::events::{BuildEndStatus, BuildEvent};

use crate::build::{EventsError, Fault, LeaseError};
use crate::logs::Record;
use crate::model::{Build, BuildState, Ending};
use crate::queue::Fence;
use crate::state::App;
use crate::store::CancelRequest;

/// What the build came to, as its agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentVerdict {
    Passed,
    Failed,
    Canceled,
    TimedOut,
}

/// How a build ended, as its agent says.
#[derive(Debug, Clone)]
pub(crate) struct AgentEnding {
    pub(crate) verdict: AgentVerdict,
    /// Why it failed without a step's fault.
    pub(crate) error: Option<String>,
}

/// The longest rest of a build that was given back, in seconds.
const LONGEST_REST: u64 = 64;
/// How often a build is given back before it rests, where its agents were only stopped.
const FREE_RETURNS: u32 = 3;

const TIMED_OUT: &str = "timed_out";

impl AgentEnding {
    fn ending(self) -> Ending {
        let (state, code) = match self.verdict {
            AgentVerdict::Passed => (BuildState::Passed, None),
            AgentVerdict::Canceled => (BuildState::Canceled, None),
            AgentVerdict::TimedOut => (BuildState::Failed, Some(TIMED_OUT)),
            AgentVerdict::Failed => (BuildState::Failed, self.error.as_ref().map(|_| "agent_error")),
        };
        Ending {
            state,
            error_code: code.map(str::to_owned),
            error_message: self.error,
        }
    }
}

impl App {
    /// The build is over, after so many events. Said again by the same attempt, it is answered again.
    pub(crate) async fn complete(
        &self,
        fence: Fence,
        events: u64,
        ending: AgentEnding,
    ) -> Result<Build, EventsError> {
        let _alone = self.live.lock(fence.build).await;
        let found = self.store.build_by_id(fence.build).await?;
        let over = |build: &Build| build.attempt == fence.attempt && build.state.is_terminal();
        if !found.as_ref().is_some_and(over) {
            let build = self.held(fence).await?;
            let told = self.logs.head(build.id).await?.saturating_sub(build.base_seq);
            if told != events {
                return Err(EventsError::Gap { next: told + 1 });
            }
            let ending = ending.ending();
            if !self
                .store
                .finish_build(fence.build, fence.attempt, &ending, Utc::now())
                .await?
            {
                return Err(LeaseError::Lost.into());
            }
        }
        let build = self
            .store
            .build_by_id(fence.build)
            .await?
            .ok_or(LeaseError::Lost)?;
        self.settle(&build, fence).await?;
        Ok(build)
    }

    /// What follows on a build's end: its log's last event, and no place in the queue.
    pub(crate) async fn settle(&self, build: &Build, fence: Fence) -> Result<(), Fault> {
        self.seal(build).await?;
        self.queue.complete(fence).await?;
        self.live.tell(build.id);
        self.live.forget(build.id);
        Ok(())
    }

    /// The agent cannot go on with the build, and somebody else shall. With a reason that counts as a loss does: what no agent
    /// can run must not go round for ever, in front of everything else.
    pub(crate) async fn give_back(
        &self,
        fence: Fence,
        agent: &str,
        reason: Option<&str>,
    ) -> Result<(), LeaseError> {
        let _alone = self.live.lock(fence.build).await;
        let build = self.held(fence).await?;
        if build.state == BuildState::Canceling {
            self.end(&build, fence, canceled()).await?;
            return Ok(());
        }
        let lease = self.queue.leased(fence).await?.ok_or(LeaseError::Lost)?;
        let most = self.config.agents.losses + 1;
        if let Some(reason) = reason.filter(|_| lease.losses + 1 >= most) {
            let ending = Ending {
                state: BuildState::Failed,
                error_code: Some("agent_failed".to_owned()),
                error_message: Some(format!(
                    "Agent `{agent}` cannot run the build, and {most} tries are all that it gets: {reason}"
                )),
            };
            self.end(&build, fence, ending).await?;
            return Ok(());
        }
        let pause = pause(lease.losses + lease.returns, reason.is_some());
        let ready = self.clock.now() + pause;
        if !self.store.abandon_attempt(fence.build, fence.attempt).await? {
            return Err(LeaseError::Lost);
        }
        self.live.tell(build.id);
        let then = match (pause.as_secs(), reason) {
            (0, _) => "it starts over on the next one".to_owned(),
            (seconds, None) => format!("it starts over in {seconds} s"),
            (seconds, Some(_)) => format!(
                "it starts over in {seconds} s (try {} of at most {most})",
                lease.losses + 2
            ),
        };
        let note = match reason {
            None => format!("Agent `{agent}` gave the build back; {then}."),
            Some(reason) => format!("Agent `{agent}` cannot run the build: {reason}; {then}."),
        };
        self.note(&build, note).await?;
        match reason {
            None => self.queue.release(fence, ready).await?,
            Some(_) => self.queue.requeue(fence, ready).await?,
        };
        Ok(())
    }

    /// Ends a build that no agent ends.
    pub(crate) async fn end(&self, build: &Build, fence: Fence, ending: Ending) -> Result<(), Fault> {
        self.store
            .finish_build(build.id, build.attempt, &ending, Utc::now())
            .await?;
        if let Some(build) = self.store.build_by_id(build.id).await? {
            self.settle(&build, fence).await?;
        }
        Ok(())
    }

    /// Cancels a build that has not ended. What an agent runs ends when the agent says so.
    pub(crate) async fn cancel(&self, build: &Build) -> Result<(), Fault> {
        let _alone = self.live.lock(build.id).await;
        match self.store.cancel_build(build.id, Utc::now()).await? {
            CancelRequest::Canceled => {
                self.queue.remove(build.id).await?;
                if let Some(build) = self.store.build_by_id(build.id).await? {
                    self.seal(&build).await?;
                }
                self.live.forget(build.id);
            }
            CancelRequest::Canceling => self.live.tell(build.id),
            CancelRequest::Nothing => {}
        }
        Ok(())
    }

    /// Says something in a build's log. The caller has the build's lock.
    pub(crate) async fn note(&self, build: &Build, note: String) -> Result<(), Fault> {
        let seq = self.logs.head(build.id).await? + 1;
        let record = Record::note(seq, build.attempt, note).encode()?;
        self.logs.append(build.id, seq, &[record]).await?;
        Ok(())
    }

    /// Gives an ended build's log its last event, unless it has that.
    pub(crate) async fn seal(&self, build: &Build) -> Result<(), Fault> {
        let head = self.logs.head(build.id).await?;
        if !self.ends_at(build, head).await? {
            let mut records: Vec<Bytes> = Vec::new();
            let mut seq = head + 1;
            if let Some(message) = &build.error_message {
                records.push(Record::note(seq, build.attempt, message.clone()).encode()?);
                seq += 1;
            }
            records.push(Record::event(seq, build.attempt, last_event(build)).encode()?);
            self.logs.append(build.id, head + 1, &records).await?;
        }
        self.store.seal_build(build.id).await?;
        Ok(())
    }

    async fn ends_at(&self, build: &Build, head: u64) -> Result<bool, Fault> {
        if head == 0 {
            return Ok(false);
        }
        let last = self.logs.read(build.id, head).await?.next(1).await?;
        let last = last.first().map(|(_, bytes)| Record::decode(bytes)).transpose()?;
        Ok(matches!(
            last,
            Some(Record {
                event: Some(BuildEvent::BuildEnd { .. }),
                ..
            })
        ))
    }
}

/// How long a build rests that was given back, after so many times before. Agents that are stopped one after another cost it
/// nothing the first times.
fn pause(before: u32, at_fault: bool) -> Duration {
    let doubled = if at_fault {
        before.min(LONGEST_REST.ilog2())
    } else {
        match before.checked_sub(FREE_RETURNS) {
            None => return Duration::ZERO,
            Some(more) => more.min(LONGEST_REST.ilog2()),
        }
    };
    Duration::from_secs(1 << doubled)
}

pub(super) const fn canceled() -> Ending {
    Ending {
        state: BuildState::Canceled,
        error_code: None,
        error_message: None,
    }
}

fn last_event(build: &Build) -> BuildEvent {
    let status = match (build.state, build.error_code.as_deref()) {
        (BuildState::Passed, _) => BuildEndStatus::Passed,
        (BuildState::Canceled, _) => BuildEndStatus::Canceled,
        (_, Some(TIMED_OUT)) => BuildEndStatus::TimedOut,
        _ => BuildEndStatus::Failed,
    };
    let duration = match (build.started_at, build.finished_at) {
        (Some(start), Some(end)) => u64::try_from((end - start).num_milliseconds()).unwrap_or(0),
        _ => 0,
    };
    BuildEvent::BuildEnd {
        exit_code: status.exit_code(),
        duration_ms: duration,
    }
}
