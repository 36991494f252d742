//! What a job says, live, in the published form.

use eventsource_stream::Event;
use futures::stream::BoxStream;
use reqwest::{Method, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::models::LogToken;
use crate::sse::{Read, Subject};
use crate::{HarmontClient, HarmontError, Result};

/// Who says something in a job's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// The command, on standard output.
    Stdout,
    /// The command, on standard error.
    Stderr,
    /// Not the command: what the server or a service says.
    Meta,
}

impl<'de> Deserialize<'de> for StreamKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(match u8::deserialize(deserializer)? {
            0 => Self::Stdout,
            1 => Self::Stderr,
            _ => Self::Meta,
        })
    }
}

/// A piece of what a job says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogChunk {
    /// Its number: grows within the log, but not by one.
    pub seq: u64,
    /// Who says it.
    #[serde(rename = "stream_kind")]
    pub stream: StreamKind,
    /// What is said, with its line ends.
    pub content: String,
    /// When, in nanoseconds since 1970, where that is known.
    #[serde(default, rename = "ts")]
    pub ts_unix_ns: Option<i64>,
}

/// What there was before, as one event.
#[derive(Deserialize)]
struct History {
    chunks: Vec<LogChunk>,
}

/// What happens to a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// What there was before, or its beginning: comes first, and once.
    History(Vec<LogChunk>),
    /// What comes then.
    Chunk(LogChunk),
    /// The job says nothing more.
    Done,
}

/// A job's log, read so far.
struct JobLog {
    client: HarmontClient,
    org: String,
    pipeline: String,
    number: String,
    job: String,
    token: Option<LogToken>,
    /// The history has come.
    begun: bool,
    /// The number of the last chunk.
    last: Option<u64>,
}

impl JobLog {
    /// Sent once: whoever opens a stream tries again.
    async fn new_token(&self) -> Result<LogToken> {
        let build = ["pipelines", &self.pipeline, "builds", &self.number, "log-token"];
        let path = [&["organizations", &self.org], &build[..]].concat();
        let request = self.client.request(Method::GET, &path)?;
        self.client.answer(self.client.send(request).await?).await
    }

    async fn connect(&self, token: &LogToken) -> Result<Response> {
        // The log token says it all.
        let bearer = HarmontClient {
            token: None,
            ..self.client.clone()
        };
        let mut request = bearer
            .request_to(Method::GET, &["v0", "jobs", &self.job, "logs"])?
            .query(&[("token", token.token.expose_secret())]);
        if let Some(last) = self.last {
            request = request.header("Last-Event-ID", last);
        }
        bearer.open_events(request).await
    }

    /// Whether a chunk was not there before.
    fn is_new(&mut self, chunk: &LogChunk) -> bool {
        let is_new = self.last.is_none_or(|last| chunk.seq > last);
        if is_new {
            self.last = Some(chunk.seq);
        }
        is_new
    }
}

impl Subject for JobLog {
    type Item = LogEvent;

    async fn open(&mut self) -> Result<Response> {
        if let Some(token) = self.token.take() {
            match self.connect(&token).await {
                // It has expired, by the server's clock.
                Err(HarmontError::Unauthorized | HarmontError::Forbidden { .. }) => {}
                opened => {
                    self.token = Some(token);
                    return opened;
                }
            }
        }
        let token = self.new_token().await?;
        let opened = self.connect(&token).await;
        self.token = Some(token);
        opened
    }

    fn read(&mut self, event: &Event) -> Result<Read<LogEvent>> {
        let going_on = |items| Ok(Read { items, over: false });
        match event.event.as_str() {
            "history" => {
                let History { mut chunks } = parse(event)?;
                chunks.retain(|chunk| self.is_new(chunk));
                // A later one is what was said while there was no connection.
                going_on(if std::mem::replace(&mut self.begun, true) {
                    chunks.into_iter().map(LogEvent::Chunk).collect()
                } else {
                    vec![LogEvent::History(chunks)]
                })
            }
            "chunk" => {
                let chunk = parse(event)?;
                let is_new = self.is_new(&chunk);
                going_on(is_new.then_some(LogEvent::Chunk(chunk)).into_iter().collect())
            }
            "done" => Ok(Read {
                items: vec![LogEvent::Done],
                over: true,
            }),
            _ => going_on(Vec::new()),
        }
    }
}

fn parse<'de, T: Deserialize<'de>>(event: &'de Event) -> Result<T> {
    serde_json::from_str(&event.data).map_err(|error| HarmontError::Decode {
        url: "a job's log".into(),
        reason: error.to_string(),
    })
}

impl HarmontClient {
    /// What a job ([`crate::models::Job::id`]) of a build says, from its beginning to its end. A connection that breaks is
    /// made anew, with a new log token where the server does not take the old one any more: nothing is lost and nothing
    /// comes twice.
    ///
    /// An item that is an error is the last.
    pub fn job_log(
        &self,
        org: &str,
        pipeline: &str,
        number: i64,
        job: Uuid,
    ) -> BoxStream<'static, Result<LogEvent>> {
        self.follow(JobLog {
            client: self.clone(),
            org: org.to_owned(),
            pipeline: pipeline.to_owned(),
            number: number.to_string(),
            job: job.to_string(),
            token: None,
            begun: false,
            last: None,
        })
    }
}
