//! How a stream is driven through a renderer: what is shown when, and what happens when the writer fails.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, stream};
use hm_plugin_protocol::events::{BuildEvent, RunHeader, StdStream};
use hm_render::{BuildState, Format, Json, Options, Renderer, Tee, Verdict, render, render_into};

/// Counts what it is asked to do.
#[derive(Default)]
struct Counter {
    events: usize,
    ticks: usize,
    finishes: usize,
}

impl Renderer for Counter {
    fn event(&mut self, _: &BuildEvent, _: &BuildState) -> io::Result<()> {
        self.events += 1;
        Ok(())
    }

    fn tick(&mut self, _: &BuildState) -> io::Result<()> {
        self.ticks += 1;
        Ok(())
    }

    fn finish(&mut self, _: &BuildState) -> io::Result<()> {
        self.finishes += 1;
        Ok(())
    }
}

/// A pipe whose reader goes away after some bytes.
#[derive(Clone)]
struct Closing(Arc<Mutex<usize>>);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = self.0.lock().unwrap();
        *left = left.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_passes_ticks() {
    let slow = stream::unfold(0, |n| async move {
        if n == 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((record::log(1, StdStream::Stdout, "x"), n + 1))
    });
    let mut counter = Counter::default();
    let state = render(Box::pin(slow), &mut counter, Duration::from_millis(100))
        .await
        .unwrap();
    assert_eq!((counter.events, counter.finishes), (10, 1));
    assert!((90..=120).contains(&counter.ticks), "{}", counter.ticks);
    assert_eq!(state.verdict(), None);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_shown_soon_although_the_next_tick_is_far() {
    let (tx, rx) = futures::channel::mpsc::unbounded();
    let out = record::Shared::default();
    let mut json = Json::new(out.clone());
    let build = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tx.unbounded_send(record::log(1, StdStream::Stdout, "x")).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let shown = out.text().len();
        drop(tx);
        shown
    };
    let (state, shown) = tokio::join!(render(rx, &mut json, Duration::from_secs(3600)), build);
    state.unwrap();
    assert!(shown > 0, "the event was held back");
}

#[tokio::test]
async fn a_stream_that_never_pauses_is_read_to_its_end() {
    let mut counter = Counter::default();
    let events = stream::iter((0..5000).map(|_| record::log(1, StdStream::Stdout, "x")));
    render(events, &mut counter, Duration::from_secs(3600))
        .await
        .unwrap();
    assert_eq!((counter.events, counter.ticks, counter.finishes), (5000, 0, 1));
}

#[tokio::test]
async fn a_closed_pipe_is_returned_and_the_record_goes_on() {
    let mut events = vec![record::start(1, RunHeader::default())];
    events.extend((0..20_000).map(|n| record::log(1, StdStream::Stdout, &format!("line {n}"))));
    events.push(BuildEvent::BuildEnd {
        exit_code: 0,
        duration_ms: 1,
    });
    let recorded = record::Shared::default();
    let pipe = Closing(Arc::new(Mutex::new(100_000)));
    let mut tee = Tee::new(vec![
        Format::Plain.renderer(pipe, Options::default()),
        Format::Json.renderer(recorded.clone(), Options::default()),
    ]);
    let mut state = BuildState::default();
    let mut stream = stream::iter(events.clone()).boxed();
    let tick = Duration::from_secs(3600);
    let error = render_into(&mut state, &mut stream, &mut tee, tick)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((tee.len(), tee.is_empty()), (1, false));
    render_into(&mut state, &mut stream, &mut tee, tick)
        .await
        .unwrap();
    assert_eq!(state.verdict(), Some(Verdict::Passed));
    let recorded = recorded.text();
    let read: Vec<BuildEvent> = hm_render::read_events(recorded.as_bytes())
        .collect::<io::Result<_>>()
        .unwrap();
    assert_eq!(read, events);
}
