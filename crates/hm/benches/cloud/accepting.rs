//! Builds that are submitted.

use std::error::Error;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use hm_exec::testing::{PlanWriter, StepWriter};
use serde_json::json;

use crate::place::{Place, submit};
use crate::{rate, spread, tell};

/// Four steps, and no agent that takes them.
fn plan() -> PlanWriter {
    PlanWriter::of([
        StepWriter::new("build", "make"),
        StepWriter::new("test", "make test").builds_in("build"),
        StepWriter::new("lint", "make lint").builds_in("build"),
        StepWriter::new("deploy", "make deploy")
            .after("test")
            .after("lint"),
    ])
    .with("labels", json!(["nobody"]))
}

pub async fn measure(place: &Place, builds: usize) -> Result<(), Box<dyn Error>> {
    let plan = plan();
    for at_once in [1, 16] {
        let began = Instant::now();
        let submitting = (0..builds).map(|number| {
            let (client, plan) = (&place.clients[number % place.clients.len()], &plan);
            async move {
                let began = Instant::now();
                submit(client, plan).await?;
                Ok::<_, harmont_client::HarmontError>(began.elapsed())
            }
        });
        let mut times: Vec<_> = stream::iter(submitting)
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        let each = format!("{:9.0} /s", rate(builds, began.elapsed()));
        tell(&format!("builds of 4 steps accepted, {at_once} at a time"), &each);
        tell("", &spread(&mut times));
    }
    Ok(())
}
