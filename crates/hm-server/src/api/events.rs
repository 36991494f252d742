//! A build's log as it is: events and notes, resumable by their numbers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use hm_plugin_protocol::events::BuildEvent;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::{ApiError, ApiResult, Ctx};
use crate::auth::Watched;
use crate::error::ErrorBody;
use crate::logs::{LogReader, Record};
use crate::model::Build;
use crate::state::App;

/// How much is read at a time: so much waits for each of a thousand watchers who do not read on.
pub(super) const PIECE: usize = 32 << 10;

/// Below the minute after which proxies tend to give up.
const QUIET: Duration = Duration::from_secs(15);

/// From where on.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WatchQuery {
    /// A log token of the build, for those who cannot send a header.
    #[param(nullable = false)]
    #[expect(dead_code, reason = "the guard has read it")]
    token: Option<String>,
    /// The number of the last event that was received. A `Last-Event-ID` header goes before.
    #[param(nullable = false)]
    after: Option<u64>,
}

impl WatchQuery {
    /// The first number that is wanted.
    pub(super) fn from(&self, headers: &HeaderMap) -> ApiResult<u64> {
        let last = match headers.get("last-event-id").filter(|value| !value.is_empty()) {
            None => self.after.unwrap_or(0),
            Some(value) => {
                let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                number.ok_or_else(|| ApiError::malformed("`Last-Event-ID` is no number of this stream."))?
            }
        };
        Ok(last.saturating_add(1))
    }
}

/// A server-sent event, as the document describes it: by its fields.
#[derive(ToSchema)]
#[expect(dead_code, reason = "what is sent is written piece by piece")]
pub(super) struct SentEvent {
    /// What it is.
    event: String,
    /// Its number, by which a stream is resumed.
    #[schema(nullable = false)]
    id: Option<String>,
    /// JSON.
    data: String,
}

/// Server-sent events.
pub(super) type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

/// Sends events until the stream ends, the server stops, or the watcher may not watch any more. A comment now and then shows that it
/// is alive.
pub(super) fn serve(
    app: &Arc<App>,
    watched: &Watched,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Events {
    let (app, by, org) = (Arc::clone(app), watched.by.clone(), watched.build.org);
    let shut_out = async move {
        let stopping = app.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = async {
                match &by {
                    Some(caller) => caller.shut_out(&app, org).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    };
    let events = events.take_until(Box::pin(shut_out)).map(Ok).boxed();
    Sse::new(events).keep_alive(KeepAlive::new().interval(QUIET))
}

/// A log read to its end, piece by piece; each is asked whether it is the last.
pub(super) struct Follow {
    pub(super) app: Arc<App>,
    pub(super) reader: Box<dyn LogReader>,
    pub(super) over: bool,
}

impl Follow {
    /// What is there already, up to a piece; none at the log's end.
    pub(super) async fn there_is(&mut self) -> Vec<(u64, Bytes)> {
        self.read().await.unwrap_or_default()
    }

    async fn read(&mut self) -> Option<Vec<(u64, Bytes)>> {
        let read = self.reader.next(PIECE).await;
        read.inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "cannot go on with a log");
        })
        .ok()
    }

    /// The next records, waited for; none when the log cannot be read any more.
    pub(super) async fn next(&mut self) -> Vec<(u64, Bytes)> {
        loop {
            match self.read().await {
                Some(records) if records.is_empty() => self.reader.more().await,
                records => return records.unwrap_or_default(),
            }
        }
    }
}

/// Refuses a log that is kept no longer.
pub(super) fn kept(build: &Build) -> ApiResult<()> {
    let Some(at) = build.log_removed_at else {
        return Ok(());
    };
    let message = format!(
        "The log of build #{} was removed on {}: this server keeps no logs that old. How its steps ended is still known.",
        build.number,
        at.format("%Y-%m-%d")
    );
    Err(ApiError::gone("log_removed", message))
}

/// Whether a stored record is an event of this kind. Whoever passes records on need not parse them all.
fn is_end(bytes: &[u8]) -> bool {
    let may_be = bytes.len() < 200;
    may_be
        && matches!(
            Record::decode(bytes),
            Ok(Record {
                event: Some(BuildEvent::BuildEnd { .. }),
                ..
            })
        )
}

fn event((seq, bytes): (u64, Bytes)) -> Event {
    let data = String::from_utf8_lossy(&bytes);
    Event::default().event("record").id(seq.to_string()).data(data)
}

/// Watch a build
///
/// Each server-sent event `record` has a record's number as its id and the record as its data: `{"seq", "attempt", "event"}`, where `event` is
/// one line of `hm run --format json`, or `{"seq", "attempt", "note"}`. A larger `attempt` than before says that the build starts over. The
/// stream ends after `build_end`.
#[utoipa::path(get, path = "/hm/v1/builds/{build_uuid}/events", operation_id = "watchBuild", tag = "hm",
    params(("build_uuid" = String, Path, description = "The build's id."), WatchQuery,
        ("last-event-id" = Option<String>, Header, description = "The number of the last event that was received.")),
    responses((status = 200, description = "Server-sent events", body = SentEvent, content_type = "text/event-stream"),
        (status = 410, description = "The log is kept no longer", body = ErrorBody)))]
pub(super) async fn watch(
    state: Ctx,
    watched: Extension<Watched>,
    headers: HeaderMap,
    Query(query): Query<WatchQuery>,
) -> ApiResult<Events> {
    let from = query.from(&headers)?;
    kept(&watched.build)?;
    let follow = Follow {
        reader: state.logs.read(watched.build.id, from).await?,
        app: Arc::clone(&state),
        over: watched.build.state.is_terminal() && from > state.logs.head(watched.build.id).await?,
    };
    let pieces = stream::unfold(follow, |mut follow| async move {
        if follow.over {
            return None;
        }
        let records = follow.next().await;
        follow.over = records.last().is_none_or(|(_, bytes)| is_end(bytes));
        Some((stream::iter(records.into_iter().map(event)), follow))
    });
    Ok(serve(&state, &watched, pieces.flatten()))
}
