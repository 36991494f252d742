//! Turns the bytes that a step or a service writes into log events.

use bytes::Bytes;
use chrono::Utc;
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use hm_vm::{OutputChunk, Stream};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::lines::{Lines, Piece};
use super::scrub::Mask;
use super::sink::Sink;

const NO_GIT: &[u8] = b"not a git repository";

/// One command's output: two streams, in each of which secrets are masked before it is cut into lines.
pub(super) struct Output<'a> {
    sink: &'a Sink,
    step_id: Uuid,
    /// Whose it is when it is not the step's own.
    service: Option<&'a str>,
    /// The attempt that writes, from the second one on.
    attempt: Option<u32>,
    stdout: Cut,
    stderr: Cut,
    /// The step complained that there is no `.git`.
    pub(super) missed_git: bool,
}

/// One stream on its way.
struct Cut {
    mask: Mask,
    lines: Lines,
}

impl Cut {
    fn new(sink: &Sink) -> Self {
        Self {
            mask: sink.mask(),
            lines: Lines::default(),
        }
    }
}

impl<'a> Output<'a> {
    pub(super) fn new(sink: &'a Sink, step_id: Uuid) -> Self {
        Self {
            sink,
            step_id,
            service: None,
            attempt: None,
            stdout: Cut::new(sink),
            stderr: Cut::new(sink),
            missed_git: false,
        }
    }

    /// That of one attempt at the step, counted from 1.
    pub(super) fn of_attempt(sink: &'a Sink, step_id: Uuid, attempt: u32) -> Self {
        Self {
            attempt: (attempt > 1).then_some(attempt),
            ..Self::new(sink, step_id)
        }
    }

    /// A service's, while this step runs.
    pub(super) fn of_service(sink: &'a Sink, step_id: Uuid, service: &'a str) -> Self {
        Self {
            service: Some(service),
            ..Self::new(sink, step_id)
        }
    }

    /// From now on, another step runs.
    pub(super) const fn under(&mut self, step_id: Uuid) {
        self.step_id = step_id;
    }

    /// Sends every line until the other end is closed, the unterminated last ones included.
    pub(super) async fn drain(&mut self, mut chunks: mpsc::Receiver<OutputChunk>) {
        while let Some(chunk) = chunks.recv().await {
            self.chunk(&chunk).await;
        }
        self.finish().await;
    }

    /// Sends the unterminated last lines.
    pub(super) async fn finish(&mut self) {
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            let rest = self.cut(stream).mask.finish();
            self.lines(stream, &rest).await;
            while let Some(piece) = self.cut(stream).lines.finish() {
                self.send(stream, piece).await;
            }
        }
    }

    pub(super) async fn chunk(&mut self, chunk: &OutputChunk) {
        let stream = match chunk.stream {
            Stream::Stdout => StdStream::Stdout,
            Stream::Stderr => StdStream::Stderr,
        };
        let masked = self.cut(stream).mask.feed(chunk.bytes.clone());
        self.lines(stream, &masked).await;
    }

    async fn lines(&mut self, stream: StdStream, bytes: &Bytes) {
        let mut input = &bytes[..];
        while let Some(piece) = self.cut(stream).lines.next(&mut input) {
            self.send(stream, piece).await;
        }
    }

    const fn cut(&mut self, stream: StdStream) -> &mut Cut {
        match stream {
            StdStream::Stdout => &mut self.stdout,
            StdStream::Stderr => &mut self.stderr,
        }
    }

    async fn send(&mut self, stream: StdStream, piece: Piece) {
        if stream == StdStream::Stderr && !self.missed_git {
            self.missed_git = memchr::memmem::find(piece.text.as_bytes(), NO_GIT).is_some();
        }
        let (step_id, line, ts, partial) = (self.step_id, piece.text, Utc::now(), piece.partial);
        let event = BuildEvent::StepLog {
            step_id,
            stream,
            line,
            ts,
            partial,
            service: self.service.map(str::to_owned),
            attempt: self.attempt,
        };
        self.sink.send(event).await;
    }
}
