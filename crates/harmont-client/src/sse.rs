//! Server-sent events that go on after a broken connection.
//!
//! The format is WHATWG HTML's, section 9.2. What a stream is about, and after what it goes on, is its [`Subject`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use eventsource_stream::{Event, Eventsource};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response};

use crate::retry::pauses;
use crate::{HarmontClient, HarmontError, Result};

const FORMAT: &str = "text/event-stream";

type Events = BoxStream<'static, std::result::Result<Event, eventsource_stream::EventStreamError<String>>>;

/// What a stream is about. It knows what it has read, so that the stream can be opened again behind that.
pub(crate) trait Subject: Send + 'static {
    /// What an event gives.
    type Item: Send;

    /// Opens the stream behind what was read.
    fn open(&mut self) -> impl Future<Output = Result<Response>> + Send;

    /// What an event gives beyond what was read before. An error is one that stays.
    fn read(&mut self, event: &Event) -> Result<Read<Self::Item>>;
}

/// What an event gives.
pub(crate) struct Read<T> {
    /// What is new.
    pub(crate) items: Vec<T>,
    /// Nothing comes after it.
    pub(crate) over: bool,
}

/// A stream to be opened as often as it takes.
struct Following<S> {
    client: HarmontClient,
    subject: S,
    open: Option<Events>,
    pauses: backon::ExponentialBackoff,
    over: bool,
}

impl HarmontClient {
    /// All that a stream gives, to its end or an error that stays, which is the last item. Connections that break are
    /// made anew.
    pub(crate) fn follow<S: Subject>(&self, subject: S) -> BoxStream<'static, Result<S::Item>> {
        let following = Following {
            client: self.clone(),
            subject,
            open: None,
            pauses: patience().build(),
            over: false,
        };
        stream::unfold(following, |mut following| async move {
            if following.over {
                return None;
            }
            let items = match following.next().await {
                Ok(items) => items.into_iter().map(Ok).collect(),
                Err(error) => {
                    following.over = true;
                    vec![Err(error)]
                }
            };
            Some((stream::iter(items), following))
        })
        .flatten()
        .fuse()
        .boxed()
    }

    /// Opens a stream of events.
    pub(crate) async fn open_events(&self, request: RequestBuilder) -> Result<Response> {
        let request = request.header(ACCEPT, FORMAT).timeout(LONGEST_CONNECTION);
        let response = self.send(request).await?;
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().is_none_or(|kind| kind.trim() != FORMAT) {
            return Err(HarmontError::Decode {
                url: response.url().path().to_owned(),
                reason: format!("`{kind}` in place of a stream of events"),
            });
        }
        Ok(response)
    }
}

impl<S: Subject> Following<S> {
    /// What the next event gives that gives anything, or the last one.
    async fn next(&mut self) -> Result<Vec<S::Item>> {
        loop {
            let trouble = match &mut self.open {
                None => match self.subject.open().await {
                    Ok(response) => {
                        self.open = Some(events(response));
                        continue;
                    }
                    Err(error) => error,
                },
                Some(events) => match events.next().await {
                    Some(Ok(event)) => {
                        let Read { items, over } = self.subject.read(&event)?;
                        self.over = over;
                        if items.is_empty() && !over {
                            continue;
                        }
                        // What was there before is no step forward: a server may repeat itself for ever.
                        self.pauses = patience().build();
                        return Ok(items);
                    }
                    Some(Err(error)) => self.broken(&error.to_string()),
                    None => self.broken("it ended before the last event"),
                },
            };
            self.open = None;
            match self.pauses.next() {
                Some(pause) if trouble.is_transient() => tokio::time::sleep(pause).await,
                _ => return Err(trouble),
            }
        }
    }

    fn broken(&self, reason: &str) -> HarmontError {
        HarmontError::Transport {
            base: self.client.base.clone(),
            reason: format!("the stream broke: {reason}"),
        }
    }
}

/// A response's events. One that does not end breaks the stream before it fills the memory.
fn events(response: Response) -> Events {
    let unread = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&unread);
    let bytes = response.bytes_stream().map(move |piece| {
        let piece = piece.map_err(|error| error.without_url().to_string())?;
        if unread.fetch_add(piece.len(), Ordering::Relaxed) > LONGEST_EVENT {
            return Err("an event does not end".to_owned());
        }
        Ok(piece)
    });
    let events = bytes.eventsource();
    events.inspect(move |_| read.store(0, Ordering::Relaxed)).boxed()
}

/// An event longer than this is none of this API's.
const LONGEST_EVENT: usize = 8 << 20;

/// A connection is made anew after this, whatever lies between that loses silent ones.
const LONGEST_CONNECTION: Duration = Duration::from_secs(6 * 3600);

/// How long a server may be away before its watchers give up: about ten minutes.
fn patience() -> ExponentialBuilder {
    pauses().with_max_times(64)
}
