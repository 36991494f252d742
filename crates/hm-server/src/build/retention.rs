//! What is kept of ended builds goes after its time, so that no server ever fills its disk with what nobody looks at.
//!
//! The build says first that its log or source is removed, so that from then on everybody is told so; then it is removed; then
//! that is noted. A crash leaves at most what the next sweep removes.

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use crate::BuildId;
use crate::blobs::BlobName;
use crate::build::Fault;
use crate::config::Keep;
use crate::state::App;
use crate::store::Kept;

/// How many builds are gone through at a time. Others write to the store in between.
const BATCH: u32 = 50;

/// How long a token that has expired can be seen by its owner.
const EXPIRED: TimeDelta = TimeDelta::days(30);

impl App {
    /// Removes what is kept no longer, until the server stops. What failed is tried again by the next sweep.
    pub(crate) async fn keep_retaining(&self) {
        loop {
            if let Err(error) = self.retain(Utc::now()).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot remove what is kept no longer"
                );
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(self.config.keep.sweep) => {}
            }
        }
    }

    /// Removes what is kept no longer.
    pub(crate) async fn retain(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let Keep {
            logs,
            sources,
            source_bytes,
            ..
        } = self.config.keep;
        self.remove_given_up().await?;
        for (what, age) in [(Kept::Source, sources), (Kept::Log, logs)] {
            let age = age.and_then(|age| TimeDelta::from_std(age).ok());
            let Some(until) = age.and_then(|age| now.checked_sub_signed(age)) else {
                continue;
            };
            while !self.stopping.is_cancelled() && self.store.give_up(what, until, now, BATCH).await? > 0 {
                self.remove_given_up().await?;
            }
        }
        if let Some(bytes) = source_bytes {
            while !self.stopping.is_cancelled() && self.store.give_up_sources(bytes, now, BATCH).await? > 0 {
                self.remove_given_up().await?;
            }
        }
        Ok(self.store.forget_void(now, now - EXPIRED).await?)
    }

    /// Removes what builds say is removed.
    pub(crate) async fn remove_given_up(&self) -> Result<(), Fault> {
        loop {
            let mut done = 0;
            for (build, what) in self.store.removals(BATCH).await? {
                // What cannot be removed now must not keep the rest.
                match self.remove(build, what).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        tracing::error!(%build, error = &error as &dyn std::error::Error, "cannot remove a {}", what.as_str());
                    }
                }
            }
            if done == 0 || self.stopping.is_cancelled() {
                return Ok(());
            }
        }
    }

    async fn remove(&self, build: BuildId, what: Kept) -> Result<(), Fault> {
        match what {
            Kept::Log => self.logs.remove(build).await?,
            Kept::Source => self.blobs.remove(&BlobName::source(build)).await?,
        }
        Ok(self.store.removed(build, what).await?)
    }

    /// Removes uploads that never became a build, at the server's start, when none is under way; and what a power cut
    /// brought back.
    pub(crate) async fn remove_strays(&self) -> Result<(), Fault> {
        let mut builds = self.blobs.sources();
        let mut strays: Vec<BuildId> = Vec::new();
        while let Some(build) = builds.try_next().await? {
            let found = self.store.build_by_id(build).await?;
            if found.is_none_or(|build| build.source_removed_at.is_some()) {
                strays.push(build);
            }
        }
        for build in strays {
            tracing::info!(%build, "removing an upload that belongs to no build");
            self.blobs.remove(&BlobName::source(build)).await?;
        }
        Ok(())
    }
}
