//! Writes a run's record while it goes on.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use hm_exec::EventStream;
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use uuid::Uuid;

use super::{RecordedStatus, Run, RunRecord};
use crate::fail::Result;

/// How long an event may wait in memory: what a crash of the machine's owner may lose.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The most bytes of a step's output that are recorded from its beginning. A step may write more than any disk holds.
const HEAD: u64 = 63 << 20;

/// The most bytes that are recorded of the end of an output that is longer.
const TAIL: usize = 1 << 20;

/// Records one run. Recording never fails a build: what cannot be written is told once, at the end.
#[derive(Debug)]
pub struct Recorder {
    run: Run,
    sink: Arc<Mutex<Sink>>,
}

#[derive(Debug)]
struct Sink {
    out: BufWriter<File>,
    hasher: blake3::Hasher,
    outputs: HashMap<Uuid, Output>,
    failure: Option<std::io::Error>,
}

/// What was recorded of one step's output.
#[derive(Debug, Default)]
struct Output {
    /// Bytes of the events that were written down.
    written: u64,
    /// The newest events of an output that is longer than [`HEAD`], which are written at its end.
    tail: VecDeque<Vec<u8>>,
    tail_bytes: usize,
    left_out: u64,
    left_out_bytes: u64,
}

impl Recorder {
    pub(super) fn new(run: Run, events: File) -> Self {
        let sink = Sink {
            out: BufWriter::with_capacity(1 << 18, events),
            hasher: blake3::Hasher::new(),
            outputs: HashMap::new(),
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
        let left: Vec<Uuid> = sink.outputs.keys().copied().collect();
        for step in left {
            sink.end_output(step);
        }
        sink.flush();
        let failure = sink.failure.take();
        // What could not be written down whole has no digest, and is read as far as it goes.
        record.events_digest = failure
            .is_none()
            .then(|| sink.hasher.finalize().to_hex().to_string());
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
        let mut line = match serde_json::to_vec(event) {
            Ok(line) => line,
            Err(error) => {
                self.failure.get_or_insert(error.into());
                return;
            }
        };
        line.push(b'\n');
        match event {
            BuildEvent::StepLog { step_id, .. } => {
                self.write_output(*step_id, line);
            }
            event => {
                if let BuildEvent::StepEnd { step_id, .. } = event {
                    self.end_output(*step_id);
                }
                self.put(&line);
            }
        }
    }

    fn put(&mut self, line: &[u8]) {
        if self.failure.is_none() {
            self.hasher.update(line);
            self.failure = self.out.write_all(line).err();
        }
    }

    /// Writes a line of a step's output down, or keeps it as one of its last.
    fn write_output(&mut self, step: Uuid, line: Vec<u8>) {
        let output = self.outputs.entry(step).or_default();
        let is_cut = !output.tail.is_empty() || output.left_out > 0;
        if !is_cut && output.written.saturating_add(line.len() as u64) <= HEAD {
            output.written += line.len() as u64;
            self.put(&line);
            return;
        }
        output.tail_bytes += line.len();
        output.tail.push_back(line);
        while output.tail_bytes > TAIL && output.tail.len() > 1 {
            let Some(oldest) = output.tail.pop_front() else {
                break;
            };
            output.tail_bytes -= oldest.len();
            output.left_out += 1;
            output.left_out_bytes += oldest.len() as u64;
        }
    }

    /// Writes the end of a step's output down, and before it how much is missing.
    fn end_output(&mut self, step: Uuid) {
        let Some(output) = self.outputs.remove(&step) else {
            return;
        };
        if output.left_out > 0 {
            let cut = BuildEvent::StepLog {
                step_id: step,
                stream: StdStream::Stderr,
                line: format!(
                    "[hm: {} lines, {}, are left out of the record here]",
                    output.left_out,
                    bytesize::ByteSize::b(output.left_out_bytes)
                ),
                ts: chrono::Utc::now(),
                partial: false,
                service: None,
                attempt: None,
            };
            if let Ok(mut line) = serde_json::to_vec(&cut) {
                line.push(b'\n');
                self.put(&line);
            }
        }
        for line in output.tail {
            self.put(&line);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_is_recorded_with_its_beginning_and_its_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut sink = Sink {
            out: BufWriter::new(file.reopen().expect("the file")),
            hasher: blake3::Hasher::new(),
            outputs: HashMap::new(),
            failure: None,
        };
        let step_id = Uuid::new_v4();
        let filling = "x".repeat(60_000);
        for number in 0..2000 {
            sink.write(&BuildEvent::StepLog {
                step_id,
                stream: StdStream::Stdout,
                line: format!("line {number} {filling}"),
                ts: chrono::Utc::now(),
                partial: false,
                service: None,
                attempt: None,
            });
        }
        sink.end_output(step_id);
        sink.flush();
        assert!(sink.failure.is_none());
        let recorded = std::fs::read(file.path()).expect("the record");
        assert!(
            (62 << 20..65 << 20).contains(&recorded.len()),
            "{}",
            recorded.len()
        );
        let digest = blake3::hash(&recorded);
        assert_eq!(sink.hasher.finalize(), digest);
        let text = String::from_utf8(recorded).expect("UTF-8");
        for words in [
            "line 0 ",
            "line 1 ",
            "are left out of the record here",
            "line 1998 ",
            "line 1999 ",
        ] {
            assert!(text.contains(words), "{words}");
        }
        assert!(!text.contains("line 1500 "));
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<BuildEvent>(line).is_ok())
        );
    }
}
