//! Looking for lost agents and for what a crash left.

use chrono::{DateTime, Utc};

use crate::BuildId;
use crate::build::{Fault, end};
use crate::model::{BuildState, Ending};
use crate::queue::Lease;
use crate::state::App;

/// How much one sweep takes on.
const BATCH: u32 = 100;

impl App {
    /// Sweeps until the server stops. A failed sweep is tried again by the next.
    pub(crate) async fn keep_sweeping(&self) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(self.config.agents.sweep) => {}
            }
            if let Err(error) = self.sweep(Utc::now()).await {
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
        // As long as the server was away no agent could say that it is there.
        let until = Utc::now() + self.config.agents.lease;
        self.queue.extend_all(until).await?;
        self.queue_scheduled().await?;
        self.remove_strays().await?;
        self.remove_given_up().await?;
        self.seal_ended().await
    }

    /// Puts builds of lost agents back, or ends them.
    pub(crate) async fn sweep(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        for lease in self.queue.expired(now, BATCH).await? {
            // One build that cannot be put right must not keep the others waiting.
            if let Err(error) = self.lose(&lease, now).await {
                failed(lease.fence.build, &error);
            }
        }
        self.seal_ended().await
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
        let expired = self.queue.expired(now, u32::MAX).await?;
        if !expired.iter().any(|expired| expired.fence == fence) {
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
                self.queue.requeue(fence).await?;
            } else {
                self.queue.release(fence).await?;
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
        self.queue.requeue(fence).await?;
        Ok(())
    }
}

fn failed(build: BuildId, error: &Fault) {
    tracing::error!(%build, error = error as &dyn std::error::Error, "cannot put a build right");
}
