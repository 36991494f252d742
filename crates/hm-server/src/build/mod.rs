//! A build's life on the server: submitted, leased, told of, ended, and put right after a crash.
//!
//! Three places know about a build: the store (its state), the queue (who may run it) and the log (what it did). No
//! transaction spans them. So each change is made in an order in which what a crash leaves is found and finished:
//! - submitted: store, then queue. At its start the server queues what is scheduled.
//! - leased: queue, then store. A lease that the store never saw runs out and is put back.
//! - told of: log, then store, then the acknowledgement. What is not acknowledged is sent again, and both take it twice.
//! - given up: store, then blob or log. At its start and now and then the server removes what is given up.
//! - ended: store, then log (the last event), then queue. The sweep completes what is ended, and seals its log.
//!
//! Within a process, one lock per build keeps an old attempt's events from coming between those of a new one.

mod end;
mod events;
mod lease;
mod retention;
mod retry;
mod submit;
mod sweep;

pub(crate) use end::{AgentEnding, AgentVerdict};
pub(crate) use events::EventsError;
pub(crate) use lease::Leased;
pub(crate) use retry::RetryError;
pub(crate) use submit::{Submission, SubmitError};

use crate::blobs::BlobError;
use crate::logs::LogError;
use crate::secret::NoRandomness;
use crate::store::StoreError;

/// The server itself failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("an event has no JSON form")]
    Encode(#[from] serde_json::Error),
    #[error("a task ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// The lease is lost, or the build is over: what the agent says is not heard any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("the lease is lost")]
    Lost,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<StoreError> for LeaseError {
    fn from(error: StoreError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<LogError> for LeaseError {
    fn from(error: LogError) -> Self {
        Self::Fault(error.into())
    }
}
