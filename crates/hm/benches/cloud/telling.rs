//! Events from an agent to the log.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use harmont_client::HarmontClient;
use harmont_client::agent::Verdict;
use hm_exec::testing::{PlanWriter, StepWriter};
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use serde_json::json;
use uuid::Uuid;

use crate::place::{Place, submit};
use crate::{rate, tell};

const BATCHES: usize = 200;
/// About what an agent sends at a time when much is said.
const EVENTS: usize = 1_000;
const LINES: usize = 200_000;

/// One build told by the benchmark itself, as fast as it goes.
async fn told(client: HarmontClient, labels: BTreeSet<String>) -> Result<(), String> {
    let lease = client.lease("bench", &labels, Duration::from_secs(5)).await;
    let lease = lease.map_err(|error| error.to_string())?.ok_or("no build came")?;
    let step = lease.jobs.first().map_or(Uuid::nil(), |job| job.id);
    let line = BuildEvent::StepLog {
        step_id: step,
        stream: StdStream::Stdout,
        line: "a line of output like many others, of some sixty characters".into(),
        ts: chrono::Utc::now(),
        partial: false,
        service: None,
        attempt: None,
    };
    let mut line = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let batch = Bytes::from(line.repeat(EVENTS));
    let mut first = 1;
    for _ in 0..BATCHES {
        let sent = client.send_events(&lease, first, batch.clone()).await;
        first = sent.map_err(|error| error.to_string())?.next;
    }
    client
        .complete(&lease, first - 1, Verdict::Passed, None)
        .await
        .map_err(|error| error.to_string())
}

pub async fn measure(place: &Place) -> Result<(), Box<dyn Error>> {
    let plan = PlanWriter::of([StepWriter::new("one", "true")]).with("labels", json!(["told"]));
    for builds in [1, 4] {
        for _ in 0..builds {
            submit(place.client(), &plan).await?;
        }
        let began = Instant::now();
        let telling =
            (0..builds).map(|_| tokio::spawn(told(place.agents_client(), ["told".to_owned()].into())));
        for told in telling.collect::<Vec<_>>() {
            told.await??;
        }
        let each = format!("{:9.0} /s", rate(builds * BATCHES * EVENTS, began.elapsed()));
        tell(
            &format!("events told in batches of {EVENTS}, {builds} builds at once"),
            &each,
        );
    }
    let agent = place.agent("flood")?;
    let plan =
        PlanWriter::of([StepWriter::new("one", format!("seq {LINES}"))]).with("labels", json!(["flood"]));
    let build = submit(place.client(), &plan).await?;
    let mut records = place.client().build_records(build.id.ok_or("no id")?, 0);
    let (mut began, mut lines) = (Instant::now(), 0);
    while let Some(record) = records.next().await {
        match record?.event {
            Some(BuildEvent::StepStart { .. }) => began = Instant::now(),
            Some(BuildEvent::StepLog { .. }) => lines += 1,
            _ => {}
        }
    }
    let each = format!("{:9.0} /s", rate(lines, began.elapsed()));
    tell("lines of one step, from an agent to one watcher", &each);
    agent.end()
}
