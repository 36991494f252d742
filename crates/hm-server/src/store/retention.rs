//! What is kept of builds, and for how long.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::BuildId;
use crate::store::Result;

/// What is kept of a build outside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// Its log.
    Log,
    /// Its source archive.
    Source,
}

impl Kept {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Source => "source",
        }
    }

    /// The inverse of [`Kept::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Log, Self::Source]
            .into_iter()
            .find(|kept| kept.as_str() == text)
    }
}

/// What is kept of builds, and for how long.
///
/// Something is given up in three steps: the build says that it is removed, it is removed, and that is noted. What a crash
/// leaves between them is in [`Retention::removals`]; a build never promises what is not there.
///
/// # Errors
/// Every method fails when the store does.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Gives up what was kept of builds that ended until a moment, the oldest first, at most `limit`. Answers how many
    /// builds now say so.
    async fn give_up(
        &self,
        what: Kept,
        ended_until: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64>;

    /// Gives up source archives of ended builds, the oldest first, at most `limit`, until all that are kept have at most
    /// so many bytes together. Answers how many builds now say so.
    async fn give_up_sources(&self, bytes: u64, now: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// What was given up and may still be there, at most `limit`.
    async fn removals(&self, limit: u32) -> Result<Vec<(BuildId, Kept)>>;

    /// It is there no more.
    async fn removed(&self, build: BuildId, what: Kept) -> Result<()>;

    /// Forgets tokens that are revoked, sessions, logins and invites that have expired, and other tokens that had expired
    /// at `expired`: until then its owner sees why a token opens nothing.
    async fn forget_void(&self, now: DateTime<Utc>, expired: DateTime<Utc>) -> Result<()>;
}
