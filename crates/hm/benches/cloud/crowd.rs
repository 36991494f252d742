//! Memory with a thousand watchers.

use std::error::Error;

use harmont_client::HarmontClient;
use hm_exec::testing::{PlanWriter, StepWriter};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::place::{ORG, PIPELINE, Place, submit};
use crate::tell;

const WATCHERS: usize = 1_000;

pub async fn measure(place: &Place) -> Result<(), Box<dyn Error>> {
    let plan = PlanWriter::of([StepWriter::new("idle", "true")]).with("labels", json!(["nobody"]));
    let build = submit(place.client(), &plan).await?;
    let token = token(place.client(), build.number).await?;
    let ask = format!(
        "GET /hm/v1/builds/{}/events?token={token} HTTP/1.1\r\nhost: {}\r\n\r\n",
        build.id.ok_or("no id")?,
        place.address()
    );
    let before = place.memory("VmRSS:")?;
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
    let with = place.memory("VmRSS:")?;
    tell(
        "the server's memory before the watchers",
        &format!("{before:9.1} MiB"),
    );
    tell(
        &format!("with {WATCHERS} watchers of a build that waits"),
        &format!("{with:9.1} MiB"),
    );
    tell(
        "the most since its start",
        &format!("{:9.1} MiB", place.memory("VmHWM:")?),
    );
    Ok(())
}

async fn token(client: &HarmontClient, number: i64) -> Result<String, Box<dyn Error>> {
    let token = client.log_token(ORG, PIPELINE, number).await?;
    Ok(token.token.expose_secret().to_owned())
}
