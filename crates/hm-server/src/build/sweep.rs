//! Looking for lost agents and for what a crash left.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::BuildId;
use crate::build::{Fault, end};
use crate::model::{BuildState, Ending};
use crate::queue::Lease;
use crate::state::{App, explained};

/// How much one sweep takes on.
const BATCH: u32 = 100;

/// How long a build waits before its log says that there is no agent for it.
const UNSERVED: TimeDelta = TimeDelta::seconds(5);
/// How long agents may take to ask a server that has just begun: their longest pause between two tries, and a bit.
const UNSEEN: Duration = Duration::from_secs(20);

impl App {
    /// Sweeps until the server stops. A failed sweep is tried again by the next.
    pub(crate) async fn keep_sweeping(&self) {
        let agents = &self.config.agents;
        let late = agents.sweep + agents.lease / 3;
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(agents.sweep) => {}
            }
            let passed = last.elapsed();
            last = Instant::now();
            let swept = async {
                if passed > late {
                    tracing::warn!(
                        seconds = passed.as_secs(),
                        "the server stood still for a while; every agent gets a new lease"
                    );
                    self.queue.renew_all(self.clock.now() + agents.lease).await?;
                }
                self.sweep(self.clock.now()).await
            };
            if let Err(error) = swept.await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for lost agents"
                );
            }
            self.rates.sweep();
        }
    }

    /// Finishes what a crash left, at the server's start.
    pub(crate) async fn recover(&self) -> Result<(), Fault> {
        // As long as the server was away no agent could say that it is there, and moments of an earlier run's clock mean nothing.
        let until = self.clock.now() + self.config.agents.lease;
        self.queue.renew_all(until).await?;
        self.queue_scheduled().await?;
        self.remove_strays().await?;
        self.remove_given_up().await?;
        self.seal_ended().await
    }

    /// Puts builds of lost agents back, or ends them.
    pub(crate) async fn sweep(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        self.queue.wake(now).await?;
        for lease in self.queue.expired(now, BATCH).await? {
            // One build that cannot be put right must not keep the others waiting.
            if let Err(error) = self.lose(&lease, now).await {
                failed(lease.fence.build, &error);
            }
        }
        self.seal_ended().await?;
        self.say_what_is_missing().await
    }

    /// Says once in the log of a build that no agent can take it, so that its watchers know as well as its page does.
    async fn say_what_is_missing(&self) -> Result<(), Fault> {
        if self.clock.age() < UNSEEN {
            // Agents of before the server's start have not asked yet.
            return Ok(());
        }
        let since = Utc::now() - UNSERVED;
        for (org, labels) in self.queue.wanted(since).await? {
            if self.agents.last(org, &labels).is_some() {
                continue;
            }
            for build in self.queue.note(org, &labels, since, BATCH).await? {
                let _alone = self.live.lock(build).await;
                let (build, waiting) = (
                    self.store.build_by_id(build).await?,
                    self.queue.waiting(build).await?,
                );
                if let (Some(build), Some(waiting)) = (build, waiting)
                    && build.state == BuildState::Scheduled
                {
                    self.note(&build, explained(&waiting, None)).await?;
                }
            }
        }
        Ok(())
    }

    async fn seal_ended(&self) -> Result<(), Fault> {
        for build in self.store.unsealed_builds(BATCH).await? {
            let _alone = self.live.lock(build.id).await;
            match self.seal(&build).await {
                Ok(()) => self.live.forget(build.id),
                Err(error) => failed(build.id, &error),
            }
        }
        Ok(())
    }

    async fn lose(&self, lease: &Lease, now: DateTime<Utc>) -> Result<(), Fault> {
        let fence = lease.fence;
        let _alone = self.live.lock(fence.build).await;
        let Some(build) = self.store.build_by_id(fence.build).await? else {
            self.queue.complete(fence).await?;
            return Ok(());
        };
        // The agent may have come back while we waited for the lock.
        let leased = self.queue.leased(fence).await?;
        if leased.is_none_or(|lease| lease.until > now) {
            return Ok(());
        }
        if build.state.is_terminal() {
            return self.settle(&build, fence).await;
        }
        if build.state == BuildState::Canceling {
            return self.end(&build, fence, end::canceled()).await;
        }
        if build.state == BuildState::Scheduled {
            // A crash came between: the agent never had the build, or has been taken for lost already.
            if build.attempt == fence.attempt {
                self.queue.requeue(fence, self.clock.now()).await?;
            } else {
                self.queue.release(fence, self.clock.now()).await?;
            }
            return Ok(());
        }
        let agents = self.config.agents.losses + 1;
        if lease.losses >= self.config.agents.losses {
            let ending = Ending {
                state: BuildState::Failed,
                error_code: Some("agent_lost".to_owned()),
                error_message: Some(format!(
                    "Agent `{}` was lost, as was every one before it: {agents} agents have been tried.",
                    lease.agent
                )),
            };
            return self.end(&build, fence, ending).await;
        }
        if self.store.abandon_attempt(build.id, fence.attempt).await? {
            self.live.tell(build.id);
            let note = format!(
                "Agent `{}` was lost; the build starts over on the next one ({} of at most {agents}).",
                lease.agent,
                lease.losses + 2,
            );
            self.note(&build, note).await?;
        }
        self.queue.requeue(fence, self.clock.now()).await?;
        Ok(())
    }
}

fn failed(build: BuildId, error: &Fault) {
    tracing::error!(%build, error = error as &dyn std::error::Error, "cannot put a build right");
}
