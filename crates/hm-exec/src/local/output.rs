//! Turns the bytes that a step or a service writes into log events.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use hm_vm::{OutputChunk, Stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::lines::{Lines, Piece};
use super::scrub::Mask;
use super::sink::Sink;

/// How long what has come of a line waits for the rest of it before it is sent as a piece.
const WAIT: Duration = Duration::from_millis(100);

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
    /// When what has come of a line is to be sent.
    pub(super) due: Option<Instant>,
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
            due: None,
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
        loop {
            tokio::select! {
                biased;
                chunk = chunks.recv() => match chunk {
                    Some(chunk) => self.chunk(&chunk).await,
                    None => break,
                },
                () = due(self.due) => self.flush().await,
            }
        }
        self.finish().await;
    }

    /// Sends what has come of lines that go on: whoever reads them may be asked something, or watch a bar grow.
    pub(super) async fn flush(&mut self) {
        self.due = None;
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            if let Some(piece) = self.cut(stream).lines.flush() {
                self.send(stream, piece).await;
            }
        }
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

    /// Ends the lines of which pieces were sent: what comes next is sent under another step.
    pub(super) async fn close_lines(&mut self) {
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            if let Some(piece) = self.cut(stream).lines.close() {
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
        if self.lines(stream, &masked).await {
            // A line ended, and what has come of the next one is new. Sending may have taken long: that is no pause of the command.
            self.due = None;
        }
        if !self.stdout.lines.is_pending() && !self.stderr.lines.is_pending() {
            self.due = None;
        } else if *self.due.get_or_insert_with(|| Instant::now() + WAIT) <= Instant::now() {
            // Where chunks come without a pause, nobody waits for one.
            self.flush().await;
        }
    }

    /// Sends the lines that end in these bytes, and tells whether any did.
    async fn lines(&mut self, stream: StdStream, bytes: &Bytes) -> bool {
        let mut input = &bytes[..];
        let mut any = false;
        while let Some(piece) = self.cut(stream).lines.next(&mut input) {
            any |= !piece.partial;
            self.send(stream, piece).await;
        }
        any
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

/// Waits until it is due; for ever, where nothing is.
pub(super) async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
