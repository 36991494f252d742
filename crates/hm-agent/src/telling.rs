//! Tells the server what a build does: in batches, each kept until it is acknowledged.
//!
//! What is said after a silence is sent at once, for somebody may be watching. What is said while a batch is under way, and
//! right after one, goes with the next.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use harmont_client::agent::Lease;
use harmont_client::{HarmontClient, HarmontError};
use hm_exec::EventStream;
use hm_plugin_protocol::events::BuildEvent;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// When a batch is full, in bytes: it waits for nothing but the one before, and a build that says more waits too.
const BATCH: usize = 256 << 10;
/// The least and the longest time from one batch to the next that is not full. Between the two it is twice what the
/// server takes for one: it is asked less often when it has much to do.
const GAPS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Tells all events of a build but its end, which is the server's to tell. Answers how many were acknowledged: all of
/// them, or the lease is lost.
pub(super) async fn tell(
    client: &HarmontClient,
    lease: &Lease,
    events: EventStream,
    cancel: &CancellationToken,
) -> Result<u64, HarmontError> {
    let mut gathering = Gathering {
        events,
        ids: Ids::new(lease),
        batch: Batch::default(),
        over: false,
    };
    let mut next = 1;
    while gathering.has_some().await {
        let began = Instant::now();
        let batch = std::mem::take(&mut gathering.batch);
        let sending = send(client, lease, next, batch.lines.into(), cancel);
        if let Err(error) = gathering.during(sending).await {
            cancel.cancel();
            gathering.drain().await;
            return Err(error);
        }
        next += batch.count;
        let gap = (began.elapsed() * 2).clamp(GAPS.0, GAPS.1);
        gathering.until(began + gap).await;
    }
    Ok(next - 1)
}

/// Sends events until they are acknowledged.
async fn send(
    client: &HarmontClient,
    lease: &Lease,
    first: u64,
    lines: Bytes,
    cancel: &CancellationToken,
) -> Result<(), HarmontError> {
    let mut pauses = super::pauses();
    loop {
        match client.send_events(lease, first, lines.clone()).await {
            Ok(acknowledged) => {
                if acknowledged.cancel {
                    cancel.cancel();
                }
                return Ok(());
            }
            // As long as the lease may still hold, the server is waited for.
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, build = %lease.build_id, "events are not acknowledged; sending again");
                super::rest(&mut pauses).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Events as they are sent.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    count: u64,
}

/// Puts events into a batch.
struct Gathering {
    events: EventStream,
    ids: Ids,
    batch: Batch,
    over: bool,
}

impl Gathering {
    /// Waits for something to send, and takes what is there along. Nothing comes when the build is over.
    async fn has_some(&mut self) -> bool {
        while self.batch.count == 0 && !self.over {
            let event = self.events.next().await;
            self.add(event);
        }
        while self.takes_more()
            && let Some(event) = self.events.next().now_or_never()
        {
            self.add(event);
        }
        self.batch.count > 0
    }

    /// Gathers while something is done. When the batch is full, the build waits.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                event = self.events.next(), if self.takes_more() => self.add(event),
            }
        }
    }

    /// Gathers until then, or until there is no sense in waiting any more.
    async fn until(&mut self, then: Instant) {
        let slept = tokio::time::sleep_until(then);
        tokio::pin!(slept);
        while self.takes_more() {
            tokio::select! {
                () = &mut slept => return,
                event = self.events.next() => self.add(event),
            }
        }
    }

    /// Hears the build to its end: it must not hang because nobody listens.
    async fn drain(&mut self) {
        while !self.over && self.events.next().await.is_some() {}
    }

    const fn takes_more(&self) -> bool {
        !self.over && self.batch.lines.len() < BATCH
    }

    fn add(&mut self, event: Option<BuildEvent>) {
        let Some(event) = event else {
            self.over = true;
            return;
        };
        let Some(event) = self.ids.translate(event) else {
            return;
        };
        let batch = &mut self.batch;
        let before = batch.lines.len();
        // An event always has a JSON form.
        if serde_json::to_writer(&mut batch.lines, &event).is_ok() {
            batch.lines.push(b'\n');
            batch.count += 1;
        } else {
            batch.lines.truncate(before);
        }
    }
}

/// The server's ids of the steps.
struct Ids {
    by_key: HashMap<String, Uuid>,
    here: HashMap<Uuid, Uuid>,
}

impl Ids {
    fn new(lease: &Lease) -> Self {
        let jobs = lease.jobs.iter();
        Self {
            by_key: jobs.map(|job| (job.key.clone(), job.id)).collect(),
            here: HashMap::new(),
        }
    }

    /// The event in the server's words; nothing where the server itself says it.
    fn translate(&mut self, mut event: BuildEvent) -> Option<BuildEvent> {
        if let BuildEvent::StepQueued { step_id, key, .. } = &event {
            let id = self.by_key.get(key)?;
            self.here.insert(*step_id, *id);
        }
        if let BuildEvent::BuildEnd { .. } = event {
            return None;
        }
        if let Some(step_id) = event.step_id_mut() {
            *step_id = *self.here.get(step_id)?;
        }
        Some(event)
    }
}
