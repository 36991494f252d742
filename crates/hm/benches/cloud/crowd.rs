//! Memory with a thousand watchers.

use std::error::Error;
use std::time::Duration;

use harmont_client::HarmontClient;
use harmont_client::models::Build;
use hm_exec::testing::{PlanWriter, StepWriter};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::place::{ORG, PIPELINE, Place, submit};
use crate::tell;

const WATCHERS: usize = 1_000;
/// How many builds before the last one had many lines: three for the delay, and a flood.
const LONG: i64 = 4;
/// Until the server has read what it reads ahead.
const SETTLE: Duration = Duration::from_secs(5);

pub async fn measure(place: &Place) -> Result<(), Box<dyn Error>> {
    let plan = PlanWriter::of([StepWriter::new("idle", "true")]).with("labels", json!(["nobody"]));
    let idle = submit(place.client(), &plan).await?;
    let figure = |what: &str, name| {
        tell(what, &format!("{:9.1} MiB", place.memory(name)?));
        Ok::<_, Box<dyn Error>>(())
    };
    figure("the server's memory before any crowd", "VmRSS:")?;
    let waiting = watch(place, &idle).await?;
    figure(
        &format!("with {WATCHERS} watchers of a build that waits"),
        "VmRSS:",
    )?;
    drop(waiting);
    // The longest that is there: one of those that were told.
    let long = place.client().build(ORG, PIPELINE, idle.number - LONG).await?;
    let stuck = watch(place, &long).await?;
    tokio::time::sleep(SETTLE).await;
    figure(
        &format!("with {WATCHERS} watchers of a long log who read nothing"),
        "VmRSS:",
    )?;
    drop(stuck);
    figure("the most since its start", "VmHWM:")
}

/// A crowd that asks for a build's log, and reads no further than to where the answer begins.
async fn watch(place: &Place, build: &Build) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let token = token(place.client(), build.number).await?;
    let ask = format!(
        "GET /hm/v1/builds/{}/events?token={token} HTTP/1.1\r\nhost: {}\r\n\r\n",
        build.id.ok_or("no id")?,
        place.address()
    );
    let mut watching = Vec::new();
    for _ in 0..WATCHERS {
        let mut stream = TcpStream::connect(place.address()).await?;
        stream.write_all(ask.as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        if &answer != b"HTTP/1.1 200" {
            return Err("the server does not let them watch".into());
        }
        watching.push(stream);
    }
    Ok(watching)
}

async fn token(client: &HarmontClient, number: i64) -> Result<String, Box<dyn Error>> {
    let token = client.log_token(ORG, PIPELINE, number).await?;
    Ok(token.token.expose_secret().to_owned())
}
