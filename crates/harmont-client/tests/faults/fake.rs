//! A server for a test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use harmont_client::HarmontClient;

type Answer = Box<dyn Fn(usize, &Asked) -> Response + Send + Sync>;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// A server that answers as it is told.
pub struct Server {
    answer: Answer,
    count: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    server.asked.lock().expect("no panic").push(asked.clone());
    (server.answer)(server.count.fetch_add(1, Ordering::SeqCst), &asked)
}

/// A server whose answers depend on how many requests there were before.
pub async fn serve(
    answer: impl Fn(usize, &Asked) -> Response + Send + Sync + 'static,
) -> (HarmontClient, Arc<Server>) {
    let server = Arc::new(Server {
        answer: Box::new(answer),
        count: AtomicUsize::new(0),
        asked: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(handle).with_state(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (HarmontClient::with_base_url("s3cret-token", base), server)
}

impl Server {
    /// What was asked of it, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// The API's words for an error.
pub fn refused(status: u16, code: &str) -> Response {
    let body = format!(r#"{{"error":{{"type":"t","code":"{code}","message":"words"}}}}"#);
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

/// A stream of events.
pub fn events(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], text.into()).into_response()
}
