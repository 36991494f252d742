//! An agent takes a build.

use std::collections::BTreeSet;

use chrono::Utc;

use crate::build::Fault;
use crate::model::{Attempt, Build, BuildState, Job, Pipeline};
use crate::queue::{Fence, LeaseRequest};
use crate::secret::Secret;
use crate::state::{App, explained};
use crate::{BuildId, OrgId};

/// What an agent is given.
pub(crate) struct Leased {
    pub(crate) build: Build,
    pub(crate) pipeline: Pipeline,
    pub(crate) org: String,
    pub(crate) plan: String,
    pub(crate) jobs: Vec<Job>,
    pub(crate) runner: Secret,
}

impl App {
    /// A build for an agent, if one waits.
    pub(crate) async fn lease(
        &self,
        org: OrgId,
        agent: &str,
        labels: &BTreeSet<String>,
    ) -> Result<Option<Leased>, Fault> {
        loop {
            let request = LeaseRequest {
                org,
                agent: agent.to_owned(),
                labels: labels.clone(),
                now: self.clock.now(),
                until: self.clock.now() + self.config.agents.lease,
            };
            let Some(lease) = self.queue.lease(&request).await? else {
                return Ok(None);
            };
            if let Some(leased) = self.begin(lease.fence).await? {
                return Ok(Some(leased));
            }
            // It was canceled meanwhile, or ended in a moment that a crash cut short.
            self.queue.complete(lease.fence).await?;
        }
    }

    async fn begin(&self, fence: Fence) -> Result<Option<Leased>, Fault> {
        let _alone = self.live.lock(fence.build).await;
        let runner = Secret::new("runner")?;
        let attempt = Attempt {
            number: fence.attempt,
            base_seq: self.logs.head(fence.build).await?,
            runner: runner.hash(),
        };
        if !self
            .store
            .begin_attempt(fence.build, &attempt, Utc::now())
            .await?
        {
            return Ok(None);
        }
        let Some(build) = self.store.build_by_id(fence.build).await? else {
            return Ok(None);
        };
        let org = self.store.organization_by_id(build.org).await?;
        let pipeline = self.store.pipeline_by_id(build.pipeline).await?;
        let plan = self.store.plan(build.id).await?;
        let (Some(org), Some(pipeline), Some(plan)) = (org, pipeline, plan) else {
            return Ok(None);
        };
        let jobs = self.store.jobs(build.id).await?;
        Ok(Some(Leased {
            build,
            pipeline,
            org: org.slug,
            plan,
            jobs,
            runner,
        }))
    }

    /// What a build waits for, in a sentence; nothing once an agent has it.
    pub(crate) async fn waits_for(&self, build: &Build) -> Result<Option<String>, Fault> {
        if build.state != BuildState::Scheduled {
            return Ok(None);
        }
        let waiting = self.queue.waiting(build.id).await?;
        Ok(waiting.map(|waiting| explained(&waiting, self.agents.last(build.org, &waiting.labels))))
    }

    /// A build as an agent of this organization may see it.
    pub(crate) async fn agents_build(&self, org: OrgId, id: BuildId) -> Result<Option<Build>, Fault> {
        let build = self.store.build_by_id(id).await?;
        Ok(build.filter(|build| build.org == org))
    }
}
