//! Turns the bytes that a step writes into log events.

use chrono::Utc;
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use hm_vm::{OutputChunk, Stream};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::lines::{Lines, Piece};
use super::sink::Sink;

const NO_GIT: &[u8] = b"not a git repository";

/// One attempt's output: two streams, each cut into lines by itself.
pub(super) struct Output<'a> {
    sink: &'a Sink,
    step_id: Uuid,
    stdout: Lines,
    stderr: Lines,
    /// The step complained that there is no `.git`.
    pub(super) missed_git: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(sink: &'a Sink, step_id: Uuid) -> Self {
        Self {
            sink,
            step_id,
            stdout: Lines::default(),
            stderr: Lines::default(),
            missed_git: false,
        }
    }

    /// Sends every line until the other end is closed, the unterminated last ones included.
    pub(super) async fn drain(&mut self, mut chunks: mpsc::Receiver<OutputChunk>) {
        while let Some(chunk) = chunks.recv().await {
            self.chunk(&chunk).await;
        }
        while let Some(piece) = self.stdout.finish() {
            self.send(StdStream::Stdout, piece).await;
        }
        while let Some(piece) = self.stderr.finish() {
            self.send(StdStream::Stderr, piece).await;
        }
    }

    async fn chunk(&mut self, chunk: &OutputChunk) {
        let mut input = &chunk.bytes[..];
        match chunk.stream {
            Stream::Stdout => {
                while let Some(piece) = self.stdout.next(&mut input) {
                    self.send(StdStream::Stdout, piece).await;
                }
            }
            Stream::Stderr => {
                while let Some(piece) = self.stderr.next(&mut input) {
                    self.send(StdStream::Stderr, piece).await;
                }
            }
        }
    }

    async fn send(&mut self, stream: StdStream, piece: Piece) {
        if stream == StdStream::Stderr && !self.missed_git {
            self.missed_git = memchr::memmem::find(piece.text.as_bytes(), NO_GIT).is_some();
        }
        let event = BuildEvent::StepLog {
            step_id: self.step_id,
            stream,
            line: piece.text,
            ts: Utc::now(),
            partial: piece.partial,
        };
        self.sink.send(event).await;
    }
}
