//! A server on a port of its own, and a client.

use std::net::SocketAddr;

use hm_server::{Rate, Server, ServerConfig, ServerError};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server that is stopped when it is dropped.
pub struct Running {
    pub server: std::sync::Arc<Server>,
    pub address: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Running {
    /// Serves what is in a directory.
    pub async fn start(data: &TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = ServerConfig::new(data.path().to_owned(), format!("http://{address}"));
        let free = Rate::new(1_000_000, 1_000_000);
        config.rates.token = free;
        config.rates.agent = free;
        config.rates.address = free;
        config.rates.login = free;
        change(&mut config);
        let server = std::sync::Arc::new(Server::open(config).await.unwrap());
        let stop = CancellationToken::new();
        let (serving, told) = (server.clone(), stop.clone());
        let task = tokio::spawn(async move { serving.serve(listener, told).await });
        Self {
            server,
            address,
            stop,
            task: Some(task),
        }
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap().unwrap();
    }

    /// A client with no token.
    pub fn anonymous(&self) -> Client {
        Client::new(self.address, None)
    }

    /// The owner of the organization `acme`.
    pub async fn owner(&self) -> Client {
        self.login("ada@example.com", "acme").await
    }

    pub async fn login(&self, email: &str, org: &str) -> Client {
        let secret = self.server.login(email, org, None).await.unwrap();
        Client::new(self.address, Some(secret.reveal().to_owned()))
    }

    /// An agent of the organization.
    pub async fn agent(&self, org: &str) -> Client {
        let secret = self.server.agent_token(org, "test").await.unwrap();
        Client::new(self.address, Some(secret.reveal().to_owned()))
    }

    pub fn with(&self, token: impl Into<String>) -> Client {
        Client::new(self.address, Some(token.into()))
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// What a request is answered.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// An error of this status and code, in the published envelope. Answers its message.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["error"]["code"], code, "{body}");
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{body}");
        assert_eq!(
            body["error"]["request_id"],
            self.headers["x-request-id"].to_str().unwrap()
        );
        message.to_owned()
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    pub token: Option<String>,
}

impl Client {
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: format!("http://{address}"),
            token,
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::to(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str) -> Answer {
        self.send(self.request(Method::PUT, path)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Adds the pipeline `ci` to `acme`.
    pub async fn pipeline(&self) {
        let body =
            json!({"name": "ci", "repository": "https://example.com/acme/app.git", "default_branch": "main"});
        self.post("/api/v0/organizations/acme/pipelines", &body)
            .await
            .expect(201);
    }

    /// Submits a build of that pipeline; its id.
    pub async fn build(&self, body: &Value) -> String {
        let answer = self.post(BUILDS, body).await;
        answer.expect(201);
        answer.headers["x-hm-build-id"].to_str().unwrap().to_owned()
    }

    /// Takes a build that must be there.
    pub async fn lease(&self) -> Value {
        self.post("/agent/v1/lease", &json!({"agent": "one"}))
            .await
            .expect(200)
    }

    /// Sends events, each one a line.
    pub async fn events(&self, lease: &Value, first: u64, events: &[Value]) -> Answer {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let path = format!(
            "/agent/v1/builds/{}/events?attempt={}&first={first}",
            lease["build_id"].as_str().unwrap(),
            lease["attempt"]
        );
        self.send(self.request(Method::POST, &path).body(lines)).await
    }

    pub async fn complete(&self, lease: &Value, events: u64, status: &str) -> Answer {
        let path = format!(
            "/agent/v1/builds/{}/complete",
            lease["build_id"].as_str().unwrap()
        );
        let body = json!({"attempt": lease["attempt"], "events": events, "status": status});
        self.post(&path, &body).await
    }
}

pub const BUILDS: &str = "/api/v0/organizations/acme/pipelines/ci/builds";

/// A plan of two steps, the second of which builds in the first.
pub fn plan() -> String {
    json!({"version": "0", "graph": {
        "nodes": [
            {"step": {"key": "build", "cmd": "make", "label": "Build"}, "env": {}},
            {"step": {"key": "test", "cmd": "make test"}, "env": {}}
        ],
        "node_holes": [], "edge_property": "directed", "edges": [[0, 1, "builds_in"]]
    }})
    .to_string()
}

/// A build of that plan.
pub fn build() -> Value {
    json!({"branch": "main", "commit": "0123abc", "message": "A change", "pipeline_ir": plan()})
}

pub async fn started() -> (TempDir, Running) {
    let data = tempfile::tempdir().unwrap();
    let server = Running::start(&data, |_| {}).await;
    (data, server)
}

/// The job's id that a lease gives for a key.
pub fn job(lease: &Value, key: &str) -> String {
    let jobs = lease["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["key"] == key).unwrap();
    job["id"].as_str().unwrap().to_owned()
}

pub fn queued(step: &str, key: &str) -> Value {
    json!({"kind": "step_queued", "step_id": step, "key": key, "chain_idx": 0, "display_name": key})
}

pub fn start(step: &str) -> Value {
    json!({"kind": "step_start", "step_id": step, "runner": "vm"})
}

pub fn log(step: &str, line: &str) -> Value {
    json!({"kind": "step_log", "step_id": step, "stream": "stdout", "line": line, "ts": "2026-01-01T00:00:00Z"})
}

pub fn end(step: &str, code: i32) -> Value {
    json!({"kind": "step_end", "step_id": step, "exit_code": code, "duration_ms": 5})
}

/// What a server-sent stream says until it ends: event, id and data.
pub fn sse(text: &str) -> Vec<(String, String, String)> {
    let field = |block: &str, name: &str| {
        let lines = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    text.split("\n\n")
        .filter(|block| block.lines().any(|line| line.starts_with("event:")))
        .map(|block| (field(block, "event"), field(block, "id"), field(block, "data")))
        .collect()
}
