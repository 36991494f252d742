//! From a step's line to a watcher's.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use hm_exec::testing::{PlanWriter, StepWriter};
use hm_plugin_protocol::events::BuildEvent;
use serde_json::json;

use crate::place::{Place, submit};
use crate::{spread, tell};

/// Two hundred lines, each the time at which it was written, with a pause between.
const STEP: &str = "for n in $(seq 200); do date +%s%N; sleep 0.03; done";

pub async fn measure(place: &Place) -> Result<(), Box<dyn Error>> {
    let agent = place.agent("delay")?;
    let plan = PlanWriter::of([StepWriter::new("clock", STEP)]).with("labels", json!(["delay"]));
    for watchers in [1, 10, 100] {
        let build = submit(place.client(), &plan).await?;
        let id = build.id.ok_or("no id")?;
        let watching = (0..watchers).map(|watcher| {
            let client = place.clients[watcher % place.clients.len()].clone();
            tokio::spawn(async move {
                let (mut records, mut times) = (client.build_records(id, 0), Vec::new());
                while let Some(record) = records.next().await {
                    let record = record.map_err(|error| error.to_string())?;
                    if let Some(BuildEvent::StepLog { line, .. }) = record.event {
                        let written = line
                            .parse()
                            .map(Duration::from_nanos)
                            .map_err(|error| format!("{line}: {error}"))?;
                        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                        times.push(now.saturating_sub(written));
                    }
                }
                Ok::<_, String>(times)
            })
        });
        let mut times = Vec::new();
        for watching in watching.collect::<Vec<_>>() {
            times.extend(watching.await??);
        }
        let what = format!("from a step's line to {watchers} watchers'");
        tell(&what, &spread(&mut times));
    }
    agent.end()
}
