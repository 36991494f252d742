//! A way to a registry that can be cut, and that counts what was asked on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Debug, Default)]
struct State {
    requests: Mutex<Vec<String>>,
    passed: AtomicU64,
    budget: AtomicU64,
}

/// Passes connections on to a server. Each line that begins an HTTP request is kept, and after
/// [`Throttle::cut_after`] bytes of answers it breaks every connection, until it is mended.
#[derive(Debug)]
pub struct Throttle {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Throttle {
    /// A way to `target` that nothing has gone wrong with yet.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a port");
        let state = Arc::new(State::default());
        state.budget.store(u64::MAX, Ordering::SeqCst);
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = shared.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        pass(client, server, &state).await;
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets this many more bytes of answers through.
    pub fn cut_after(&self, bytes: u64) {
        let passed = self.state.passed.load(Ordering::SeqCst);
        self.state.budget.store(passed + bytes, Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.state.budget.store(u64::MAX, Ordering::SeqCst);
    }

    /// Whether it has been cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.is_cut()
    }

    /// How many bytes of answers came through.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }

    /// The lines that began requests so far, such as `GET /v2/ HTTP/1.1`, and forgets them.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn is_cut(&self) -> bool {
        self.passed.load(Ordering::SeqCst) >= self.budget.load(Ordering::SeqCst)
    }

    fn note(&self, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines() {
            let begins = ["GET ", "HEAD ", "POST ", "PUT "]
                .iter()
                .any(|verb| line.starts_with(verb));
            if begins && line.contains(" HTTP/1.1") {
                let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
                requests.push(line.to_owned());
            }
        }
    }
}

/// Ends when either side does.
async fn pass(client: TcpStream, server: TcpStream, state: &State) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            state.note(&buffer[..count]);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if state.is_cut() || to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
            state.passed.fetch_add(count as u64, Ordering::SeqCst);
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
