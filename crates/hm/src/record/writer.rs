//! Writes a run's record while it goes on.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use hm_exec::EventStream;
use hm_plugin_protocol::events::BuildEvent;

use super::{RecordedStatus, Run, RunRecord};
use crate::fail::Result;

/// How long an event may wait in memory: what a crash of the machine's owner may lose.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Records one run. Recording never fails a build: what cannot be written is told once, at the end.
#[derive(Debug)]
pub struct Recorder {
    run: Run,
    sink: Arc<Mutex<Sink>>,
}

#[derive(Debug)]
struct Sink {
    out: BufWriter<File>,
    failure: Option<std::io::Error>,
}

impl Recorder {
    pub(super) fn new(run: Run, events: File) -> Self {
        let sink = Sink {
            out: BufWriter::with_capacity(1 << 18, events),
            failure: None,
        };
        Self {
            run,
            sink: Arc::new(Mutex::new(sink)),
        }
    }

    /// Passes a build's events on and writes each of them down.
    #[must_use]
    pub fn tee(&self, events: EventStream) -> EventStream {
        let sink = Arc::clone(&self.sink);
        let flusher = tokio::spawn({
            let sink = Arc::downgrade(&self.sink);
            async move {
                while let Some(sink) = sink.upgrade() {
                    lock(&sink).flush();
                    drop(sink);
                    tokio::time::sleep(FLUSH_EVERY).await;
                }
            }
        });
        let flusher = AbortOnDrop(flusher);
        events
            .inspect(move |event| {
                let _ = &flusher;
                lock(&sink).write(event);
            })
            .boxed()
    }

    /// Throws the record away: the build never began.
    pub fn discard(self) {
        // A leftover is removed like any old run.
        let _ = self.run.remove();
    }

    /// Ends the record.
    ///
    /// # Errors
    /// When some of it could not be written.
    pub fn finish(self, record: &mut RunRecord, status: RecordedStatus) -> Result<()> {
        record.status = Some(status);
        record.finished_at = Some(chrono::Utc::now());
        let mut sink = lock(&self.sink);
        sink.flush();
        let failure = sink.failure.take();
        self.run.write(record)?;
        failure.map_or(Ok(()), |error| {
            Err(crate::fail::Failure::io(
                "cannot record the events in",
                self.run.id(),
            )(error))
        })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sink {
    fn write(&mut self, event: &BuildEvent) {
        if self.failure.is_none() {
            let written = serde_json::to_writer(&mut self.out, event)
                .map_err(std::io::Error::from)
                .and_then(|()| self.out.write_all(b"\n"));
            self.failure = written.err();
        }
    }

    fn flush(&mut self) {
        if self.failure.is_none() {
            self.failure = self.out.flush().err();
        }
    }
}

fn lock(sink: &Mutex<Sink>) -> std::sync::MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}
