//! Serves a directory on an address until Ctrl-C, and prints an owner's token and an agent's:
//! `cargo run -p hm-server --example serve -- DIRECTORY ADDRESS`.
//!
//! The document is at `/api/v0/openapi.json`; `schemathesis run` takes it with `-H "Authorization: Bearer TOKEN"`.

use std::io::Write;
use std::path::PathBuf;

use hm_server::{Rate, Server, ServerConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().ok_or("name a directory")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let mut config = ServerConfig::new(data, format!("http://{}", listener.local_addr()?));
    let free = Rate::new(1_000_000, 1_000_000);
    (config.rates.token, config.rates.agent) = (free, free);
    (config.rates.address, config.rates.login) = (free, free);
    config.agents.poll = std::time::Duration::from_secs(1);
    let server = Server::open(config).await?;
    let owner = server.login("owner@example.com", "acme", None).await?;
    let agent = server.agent_token("acme", "example").await?;
    let tokens = format!("{}\n{}\n", owner.reveal(), agent.reveal());
    std::io::stdout().write_all(tokens.as_bytes())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.cancel();
        }
    });
    server.serve(listener, stop).await?;
    Ok(())
}
