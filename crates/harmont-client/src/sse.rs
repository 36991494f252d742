//! Server-sent events that go on after a broken connection.
//!
//! The format is WHATWG HTML's, section 9.2; the number of the last event that arrived goes along as
//! `Last-Event-ID` when the stream is opened again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use eventsource_stream::{Event, Eventsource};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use reqwest::header::ACCEPT;
use reqwest::{Method, Response};

use crate::retry::pauses;
use crate::{HarmontClient, HarmontError, Result};

type Events =
    BoxStream<'static, std::result::Result<Event, eventsource_stream::EventStreamError<reqwest::Error>>>;

/// A stream to be opened as often as it takes.
struct Following {
    client: HarmontClient,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    last: Option<String>,
    open: Option<Events>,
    pauses: backon::ExponentialBackoff,
    over: bool,
}

impl HarmontClient {
    /// Every event of a stream, until one that `is_last` or an error that stays. Connections that break are made
    /// anew, and begin after the last event that had an id.
    pub(crate) fn follow(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
        after: Option<String>,
        is_last: fn(&Event) -> bool,
    ) -> BoxStream<'static, Result<Event>> {
        let following = Following {
            client: self.clone(),
            path: path.iter().map(ToString::to_string).collect(),
            query,
            last: after,
            open: None,
            pauses: patience().build(),
            over: false,
        };
        stream::unfold(following, move |mut following| async move {
            let event = following.next(is_last).await?;
            Some((event, following))
        })
        .boxed()
    }
}

impl Following {
    async fn next(&mut self, is_last: fn(&Event) -> bool) -> Option<Result<Event>> {
        if self.over {
            return None;
        }
        loop {
            let trouble = match &mut self.open {
                None => match self.connect().await {
                    Ok(response) => {
                        self.open = Some(response.bytes_stream().eventsource().boxed());
                        continue;
                    }
                    Err(error) => error,
                },
                Some(events) => match events.next().await {
                    Some(Ok(event)) => {
                        self.pauses = patience().build();
                        if !event.id.is_empty() {
                            self.last = Some(event.id.clone());
                        }
                        self.over = is_last(&event);
                        return Some(Ok(event));
                    }
                    Some(Err(error)) => self.broken(&error.to_string()),
                    None => self.broken("it ended before the last event"),
                },
            };
            self.open = None;
            match self.pauses.next() {
                Some(pause) if trouble.is_transient() => tokio::time::sleep(pause).await,
                _ => {
                    self.over = true;
                    return Some(Err(trouble));
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Response> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut request = self
            .client
            .request_to(Method::GET, &path)?
            .query(&self.query)
            .header(ACCEPT, "text/event-stream");
        if let Some(last) = &self.last {
            request = request.header("Last-Event-ID", last);
        }
        self.client.send(request.timeout(LONGEST_CONNECTION)).await
    }

    fn broken(&self, reason: &str) -> HarmontError {
        HarmontError::Transport {
            base: self.client.base.clone(),
            reason: format!("the stream broke: {reason}"),
        }
    }
}

/// A connection is made anew after this, whatever lies between that loses silent ones.
const LONGEST_CONNECTION: Duration = Duration::from_secs(6 * 3600);

/// How long a server may be away before its watchers give up: about ten minutes.
fn patience() -> ExponentialBuilder {
    pauses().with_max_times(64)
}
