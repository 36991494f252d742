//! Time as this server has seen it pass.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that no change of the machine's own moves: leases are of it, so that nobody is taken for lost because somebody has
/// set the time. It begins with the process, and its moments mean nothing after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: DateTime<Utc>,
    began: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Utc::now(),
            began: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.began.elapsed()).unwrap_or(TimeDelta::MAX)
    }

    /// How long the process has been there.
    pub(crate) fn age(&self) -> std::time::Duration {
        self.began.elapsed()
    }
}
