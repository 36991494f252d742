//! Connections to clients that take their time: none costs the server more than it is worth.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::config::Patience;

/// What a connection holds of what its client does not read, and the longest head of a request.
const BUFFER: usize = 64 << 10;

/// How long to wait when no connection can be taken, as when too many files are open.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until it is told to stop, and then until the requests under way are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    patience: Patience,
    stop: CancellationToken,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let routes = TowerToHyperService::new(routes);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                after(error).await?;
                continue;
            }
        };
        prepare(&stream, patience);
        let routes = routes.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(|body| Body::new(Patient::new(body, patience)));
            request.extensions_mut().insert(ConnectInfo(address));
            routes.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, %address, "a connection broke");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// What is wished of a connection. One that cannot have it serves as it is.
fn prepare(stream: &TcpStream, patience: Patience) {
    // Lines of a log are small and shall not wait for each other.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        let stall = u32::try_from(patience.stall.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, stall);
    }
}

/// Goes on after a connection that could not be taken, unless none ever will be.
async fn after(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset => {}
        io::ErrorKind::InvalidInput => return Err(error),
        _ => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot take a connection"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// The client takes too long.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the request did not come in time")]
struct TooSlow;

/// A request's body, waited for only so long. What counts is the time that the client lets pass, not the server.
struct Patient<B> {
    body: B,
    patience: Patience,
    /// What the client has used up of the time that it has had.
    waited: Duration,
    bytes: u64,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Patient<B> {
    const fn new(body: B, patience: Patience) -> Self {
        Self {
            body,
            patience,
            waited: Duration::ZERO,
            bytes: 0,
            waiting: None,
        }
    }
}

impl<B> hyper::body::Body for Patient<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some((since, _)) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            if let Some(Ok(frame)) = &frame {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.patience.body(self.bytes).saturating_sub(self.waited);
        let (_, over) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        ready!(over.as_mut().poll(context));
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};

    use super::*;

    /// How many pieces come through, each after such a pause, and whether all do.
    async fn through(pauses: Vec<u64>, bytes: usize) -> (usize, bool) {
        let patience = Patience {
            head: Duration::ZERO,
            body: Duration::from_secs(60),
            bytes_per_second: 1000,
            stall: Duration::ZERO,
        };
        let pieces = stream::iter(pauses).then(move |pause| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))
        });
        let body = Patient::new(Body::from_stream(pieces), patience);
        let mut pieces = Body::new(body).into_data_stream();
        let mut came = 0;
        while let Some(piece) = pieces.next().await {
            if piece.is_err() {
                return (came, false);
            }
            came += 1;
        }
        (came, true)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_and_not_stand_still() {
        assert_eq!(through(vec![59], 1).await, (1, true));
        assert_eq!(through(vec![61], 1).await, (0, false));
        // A byte every half a minute.
        assert_eq!(through(vec![29; 10], 1).await, (2, false));
        // A large upload over a slow line.
        assert_eq!(through(vec![10; 1000], 10_000).await, (1000, true));
        // The minute is there once.
        assert_eq!(through(vec![10, 49, 49], 50_000).await, (3, true));
        assert_eq!(through(vec![10, 49, 49], 1).await, (2, false));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_server_takes_is_not_the_clients() {
        let patience = Patience {
            head: Duration::ZERO,
            body: Duration::from_secs(1),
            bytes_per_second: 1,
            stall: Duration::ZERO,
        };
        let pieces = stream::iter((0..5).map(|_| Ok::<_, Infallible>(Bytes::from("x"))));
        let mut body = Body::new(Patient::new(Body::from_stream(pieces), patience)).into_data_stream();
        let mut came = 0;
        while let Some(piece) = body.next().await {
            came += piece.unwrap().len();
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        assert_eq!(came, 5);
    }
}
