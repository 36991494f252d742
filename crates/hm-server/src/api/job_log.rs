//! A job's log in the published form, made from its build's events.
//!
//! The stream begins with one `history` (what is there already, or the first piece of it), goes on with a `chunk` for
//! each further line, and ends with `done`. A chunk's number is its record's in the build's log, so that numbers grow but have
//! gaps; they resume the stream.

use std::sync::Arc;

use axum::Extension;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use futures::{StreamExt, stream};
use hm_plugin_protocol::events::{BuildEvent, StdStream, StepEndStatus};
use serde::Serialize;

use super::events::{Events, Follow, SentEvent, WatchQuery, kept, serve};
use super::extract::Query;
use super::{ApiError, ApiResult, Ctx};
use crate::JobId;
use crate::auth::Watched;
use crate::logs::Record;
use crate::model::Build;

const STDOUT: u8 = 0;
const STDERR: u8 = 1;
const META: u8 = 2;

/// A piece of a job's output.
#[derive(Debug, Serialize)]
struct Chunk {
    seq: u64,
    /// 0 stdout, 1 stderr, 2 what the server says.
    stream_kind: u8,
    content: String,
    /// In nanoseconds since 1970; null where it is not known.
    ts: Option<i64>,
}

/// What was there before, as one event.
#[derive(Serialize)]
struct History<'a> {
    chunks: &'a [Chunk],
}

/// A job's log under way.
struct Log {
    follow: Follow,
    build: Build,
    job: JobId,
    /// The history has been sent.
    begun: bool,
}

/// What a record means to a job's log.
#[derive(Default)]
struct Part {
    chunk: Option<Chunk>,
    end: Option<End>,
}

enum End {
    /// Of the job, in this attempt.
    Job(i64),
    Build,
}

fn part(bytes: &[u8], job: JobId) -> Part {
    let Ok(record) = Record::decode(bytes) else {
        return Part::default();
    };
    let (seq, attempt) = (record.seq, record.attempt);
    let chunk = |stream_kind, content, ts| {
        Some(Chunk {
            seq,
            stream_kind,
            content,
            ts,
        })
    };
    let said = |chunk| Part { chunk, end: None };
    let line_end = |partial| if partial { "" } else { "\n" };
    match record.event {
        None => said(chunk(
            META,
            record.note.map_or_else(String::new, |note| note + "\n"),
            None,
        )),
        Some(BuildEvent::BuildEnd { .. }) => Part {
            chunk: None,
            end: Some(End::Build),
        },
        Some(event) if event.step_id() != Some(job.0) => Part::default(),
        Some(BuildEvent::StepLog {
            stream,
            line,
            ts,
            partial,
            service: None,
            ..
        }) => {
            let kind = match stream {
                StdStream::Stdout => STDOUT,
                StdStream::Stderr => STDERR,
            };
            said(chunk(kind, line + line_end(partial), ts.timestamp_nanos_opt()))
        }
        Some(BuildEvent::StepLog {
            service: Some(service),
            line,
            ts,
            partial,
            ..
        }) => {
            let content = format!("[{service}] {line}{}", line_end(partial));
            said(chunk(META, content, ts.timestamp_nanos_opt()))
        }
        Some(BuildEvent::StepStart {
            attempt: Some(attempt),
            previous_exit_code: Some(exit_code),
            ..
        }) => said(chunk(
            META,
            format!("Exit code {exit_code}; attempt {attempt} begins.\n"),
            None,
        )),
        Some(BuildEvent::StepEnd {
            status: Some(StepEndStatus::Skipped),
            message,
            ..
        }) => Part {
            chunk: chunk(META, format!("Skipped: {}\n", message.unwrap_or_default()), None),
            end: Some(End::Job(attempt)),
        },
        Some(BuildEvent::StepCacheHit { .. }) => Part {
            chunk: chunk(META, "Not run: what it does was cached.\n".into(), None),
            end: Some(End::Job(attempt)),
        },
        Some(BuildEvent::StepEnd { .. }) => Part {
            chunk: None,
            end: Some(End::Job(attempt)),
        },
        Some(_) => Part::default(),
    }
}

impl Log {
    /// The events that the next records give. A job has ended when it has in the build's current attempt: an earlier one's end
    /// was followed by another try.
    async fn next(&mut self) -> Vec<Event> {
        let begun = std::mem::replace(&mut self.begun, true);
        let records = if begun {
            self.follow.next().await
        } else {
            self.follow.there_is().await
        };
        self.follow.over |= begun && records.is_empty();
        let mut chunks = Vec::new();
        for (_, bytes) in &records {
            let part = part(bytes, self.job);
            chunks.extend(part.chunk);
            self.follow.over |= match part.end {
                None => false,
                Some(End::Job(attempt)) => self.is_current(attempt).await,
                Some(End::Build) => true,
            };
            // What is said of the build afterwards is not the job's, however much of it is there already.
            if part.end.is_some() && self.follow.over {
                break;
            }
        }
        let mut events = Vec::new();
        if begun {
            events.extend(chunks.iter().filter_map(chunk));
        } else {
            events.extend(history(&chunks));
        }
        if self.follow.over {
            events.push(Event::default().event("done").data("{}"));
        }
        events
    }

    async fn is_current(&self, attempt: i64) -> bool {
        let build = self.follow.app.store.build_by_id(self.build.id).await;
        build.is_ok_and(|build| build.is_none_or(|build| build.attempt == attempt))
    }
}

/// The published form has no id here: whoever resumes the stream takes the number of the last chunk.
fn history(chunks: &[Chunk]) -> Option<Event> {
    Event::default()
        .event("history")
        .json_data(History { chunks })
        .ok()
}

fn chunk(chunk: &Chunk) -> Option<Event> {
    Event::default()
        .event("chunk")
        .id(chunk.seq.to_string())
        .json_data(chunk)
        .ok()
}

/// Follow a job's log
#[utoipa::path(get, path = "/v0/jobs/{job_id}/logs", operation_id = "streamJobLogs", tag = "jobs",
    params(("job_id" = String, Path, description = "The job id."), WatchQuery,
        ("last-event-id" = Option<String>, Header, description = "The number of the last event that was received.")),
    responses((status = 200, description = "Server-sent events: `history`, `chunk`, `done`", body = SentEvent, content_type = "text/event-stream")))]
pub(super) async fn stream(
    state: Ctx,
    watched: Extension<Watched>,
    headers: HeaderMap,
    Query(query): Query<WatchQuery>,
) -> ApiResult<Events> {
    let from = query.from(&headers)?;
    kept(&watched.build)?;
    let missing = || ApiError::not_found("log_not_found", "There is no such log that you may read.");
    // Whoever has heard all that there will ever be hears `done` again.
    let over = watched.build.state.is_terminal() && from > state.logs.head(watched.build.id).await?;
    let job = watched.job.as_ref().ok_or_else(missing)?.id;
    let log = Log {
        follow: Follow {
            reader: state.logs.read(watched.build.id, from).await?,
            app: Arc::clone(&state),
            over,
        },
        build: watched.build.clone(),
        job,
        begun: false,
    };
    let pieces = stream::unfold(log, |mut log| async move {
        if log.follow.over && log.begun {
            return None;
        }
        let events = log.next().await;
        Some((stream::iter(events), log))
    });
    Ok(serve(&state, &watched, pieces.flatten()))
}
