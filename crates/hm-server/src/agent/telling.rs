//! Tells the server what a build does: in batches, each kept until it is acknowledged.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use harmont_client::agent::Lease;
use harmont_client::{HarmontClient, HarmontError};
use hm_exec::EventStream;
use hm_plugin_protocol::events::BuildEvent;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A batch is sent when it has this many bytes, or is this old.
const BATCH: usize = 256 << 10;
const AGE: Duration = Duration::from_millis(50);
/// How many batches wait for the server. A build that says more waits too.
const BATCHES: usize = 8;
/// The longest pause before events are sent again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Events as they are sent.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    count: u64,
}

/// Tells all events of a build but its end, which is the server's to tell. Answers how many were acknowledged: all of
/// them, or the lease is lost.
pub(super) async fn tell(
    client: &HarmontClient,
    lease: &Lease,
    events: EventStream,
    cancel: &CancellationToken,
) -> Result<u64, HarmontError> {
    let (sender, receiver) = mpsc::channel(BATCHES);
    let (sent, ()) = tokio::join!(
        send(client, lease, receiver, cancel),
        gather(lease, events, sender)
    );
    sent
}

/// Puts events into batches. Goes on when nobody takes them any more: a build must not hang because nobody listens.
async fn gather(lease: &Lease, mut events: EventStream, sender: mpsc::Sender<Batch>) {
    let mut ids = Ids::new(lease);
    let mut batch = Batch::default();
    let due = tokio::time::sleep(AGE);
    tokio::pin!(due);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut due, if batch.count > 0 => {
                let _ = sender.send(std::mem::take(&mut batch)).await;
                continue;
            }
        };
        let Some(event) = event else { break };
        let Some(event) = ids.translate(event) else {
            continue;
        };
        if batch.count == 0 {
            due.as_mut().reset(tokio::time::Instant::now() + AGE);
        }
        // An event always has a JSON form.
        if serde_json::to_writer(&mut batch.lines, &event).is_ok() {
            batch.lines.push(b'\n');
            batch.count += 1;
        }
        if batch.lines.len() >= BATCH {
            let _ = sender.send(std::mem::take(&mut batch)).await;
        }
    }
    if batch.count > 0 {
        let _ = sender.send(batch).await;
    }
}

async fn send(
    client: &HarmontClient,
    lease: &Lease,
    mut batches: mpsc::Receiver<Batch>,
    cancel: &CancellationToken,
) -> Result<u64, HarmontError> {
    let mut next = 1;
    while let Some(batch) = batches.recv().await {
        let lines = Bytes::from(batch.lines);
        let mut pause = Duration::from_millis(200);
        loop {
            match client.send_events(lease, next, lines.clone()).await {
                Ok(acknowledged) => {
                    if acknowledged.cancel {
                        cancel.cancel();
                    }
                    break;
                }
                // As long as the lease may still hold, the server is waited for.
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, build = %lease.build_id, "events are not acknowledged; sending again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    cancel.cancel();
                    return Err(error);
                }
            }
        }
        next += batch.count;
    }
    Ok(next - 1)
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
