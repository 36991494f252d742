//! When a request is sent again, and after which pause.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::{HarmontError, Result};

/// How long one request is tried, pauses included: about half a minute.
const TRIES: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Whoever waits longer than this wonders why.
const WORTH_SAYING: Duration = Duration::from_secs(1);

pub(crate) fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(TRIES)
        .with_jitter()
}

/// Does `work` until it passes, or fails in a way that will not go away, or was tried often enough.
pub(crate) async fn retried<T, F, W>(work: W) -> Result<T>
where
    W: FnMut() -> F,
    F: Future<Output = Result<T>>,
{
    let mut said = false;
    let tell = |error: &HarmontError, pause: Duration| {
        if pause >= WORTH_SAYING && !std::mem::replace(&mut said, true) {
            tracing::warn!("{error}; trying again for a while");
        }
    };
    work.retry(pauses())
        .when(HarmontError::is_transient)
        .notify(tell)
        .await
}
