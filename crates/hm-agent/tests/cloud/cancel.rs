//! A build that is canceled while its agent says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hm_exec::testing::{PlanWriter, StepWriter, play, request};
use hm_exec::{BuildStatus, RunOptions};
use hm_plugin_protocol::events::BuildEvent;
use hm_vm::testing::MemoryBackend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::Cloud;

const HEARTBEAT: &[u8] = b"/heartbeat HTTP/1.1\r\n";

/// Passes everything on to a server and counts the heartbeats.
struct Counting {
    base: String,
    heartbeats: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Counting {
    async fn before(server: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let heartbeats = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let (count, stopped) = (Arc::clone(&heartbeats), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let there = TcpStream::connect(server).await.expect("the server listens");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = there.into_split();
                tokio::spawn(pass(from_client, to_server, Some(Arc::clone(&count))));
                tokio::spawn(pass(from_server, to_client, None));
            }
        }));
        Self {
            base,
            heartbeats,
            _stop: stop.drop_guard(),
        }
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: Option<Arc<AtomicUsize>>,
) {
    let mut seen = Vec::new();
    while let Ok(length @ 1..) = from.read_buf(&mut seen).await {
        let new = seen.len() - length;
        if to.write_all(&seen[new..]).await.is_err() {
            return;
        }
        if let Some(count) = &count {
            let found = seen.windows(HEARTBEAT.len()).filter(|text| *text == HEARTBEAT);
            count.fetch_add(found.count(), Ordering::SeqCst);
        }
        // What may be the beginning of one more.
        seen.drain(..seen.len().saturating_sub(HEARTBEAT.len() - 1));
    }
    let _ = to.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_hears_of_the_cancel_by_the_heartbeat_that_waits() {
    // The lease is so long that a second heartbeat would come only long after the test.
    let mut cloud = Cloud::with(|config| config.agents.lease = Duration::from_secs(3600)).await;
    let counting = Counting::before(cloud.address).await;
    let agent = cloud.agent_through(&counting.base, "agent", &MemoryBackend::new());
    let plan = PlanWriter::of([StepWriter::new("silent", "echo began; sleep 1000")]);
    let ask = request(plan.plan(), &cloud.worktree("app"), RunOptions::default());
    let backend = cloud.backend();
    let played = play(&backend, ask, |event, control| {
        if matches!(event, BuildEvent::StepLog { .. }) {
            control.cancel();
        }
    });
    let played = played.await.expect("it starts");
    assert_eq!(played.status().expect("no failure"), BuildStatus::Canceled);
    assert_eq!(counting.heartbeats.load(Ordering::SeqCst), 1);
    agent.drain().await;
    cloud.stop().await;
}
