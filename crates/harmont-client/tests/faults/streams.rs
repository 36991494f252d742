//! Streams that break, repeat themselves, or are none.

use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use harmont_client::{HarmontClient, HarmontError, LogEvent, StreamKind};
use uuid::Uuid;

use crate::fake::{Asked, Server, events, refused, serve};

#[tokio::test]
async fn records_go_on_where_the_connection_broke_and_none_comes_twice() {
    let event =
        |seq: u64| format!("id: {seq}\ndata: {{\"seq\":{seq},\"attempt\":1,\"note\":\"n{seq}\"}}\n\n");
    let (client, server) = serve(move |before, _| match before {
        // Cut in the middle of an event.
        0 => events(format!("{}{}id: 3\ndata: {{\"seq\":3", event(1), event(2))),
        1 => refused(502, "restarting"),
        // It begins too early.
        2 => events(format!(": hello\n\n{}{}", event(2), event(3))),
        _ => {
            let end = r#"{"seq":5,"attempt":1,"event":{"kind":"build_end","exit_code":0,"duration_ms":1}}"#;
            events(format!("{}id: 5\ndata: {end}\n\n", event(4)))
        }
    })
    .await;
    let records: Vec<_> = client.build_records(uuid::Uuid::nil(), 0).collect().await;
    let numbers: Vec<u64> = records
        .iter()
        .map(|record| record.as_ref().expect("no error").seq)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let last: Vec<Option<String>> = server
        .asked()
        .iter()
        .map(|asked| Some(asked.headers.get("last-event-id")?.to_str().ok()?.to_owned()))
        .collect();
    let told = |id: &str| Some(id.to_owned());
    assert_eq!(last, [None, told("2"), told("2"), told("3")]);
}

#[tokio::test]
async fn a_stream_that_is_refused_ends_with_the_error() {
    let (client, _server) = serve(|_, _| refused(404, "no_build")).await;
    let records: Vec<_> = client.build_records(uuid::Uuid::nil(), 0).collect().await;
    assert!(
        matches!(records.as_slice(), [Err(HarmontError::NotFound { .. })]),
        "{records:?}"
    );
}

fn chunk(seq: u64) -> String {
    format!(r#"{{"seq":{seq},"stream_kind":0,"content":"line {seq}\n"}}"#)
}

fn chunks(numbers: impl IntoIterator<Item = u64>) -> String {
    let event = |seq| format!("event: chunk\nid: {seq}\ndata: {}\n\n", chunk(seq));
    numbers.into_iter().map(event).collect()
}

fn history(numbers: impl IntoIterator<Item = u64>) -> String {
    let chunks: Vec<String> = numbers.into_iter().map(chunk).collect();
    format!("event: history\ndata: {{\"chunks\":[{}]}}\n\n", chunks.join(","))
}

const DONE: &str = "event: done\ndata: {}\n\n";

fn token(name: &str) -> Response {
    format!(r#"{{"token":"{name}","expires_at":"2026-01-01T00:00:00Z"}}"#).into_response()
}

async fn log(client: &HarmontClient) -> Vec<Result<LogEvent, HarmontError>> {
    client.job_log("org", "ci", 7, Uuid::nil()).collect().await
}

/// The log of a server whose answers depend on how often its stream was opened before.
async fn log_of(
    answer: impl Fn(usize) -> Response + Send + Sync + 'static,
) -> (Vec<Result<LogEvent, HarmontError>>, Vec<Asked>) {
    let opened = std::sync::atomic::AtomicUsize::new(0);
    let (client, server) = serve(move |_, asked| {
        if asked.path.ends_with("/log-token") {
            return token("opens");
        }
        answer(opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
    })
    .await;
    (log(&client).await, server.asked())
}

/// The numbers of the chunks, and how many events there were.
fn numbers(log: &[Result<LogEvent, HarmontError>]) -> Vec<u64> {
    let of_event = |event: &Result<LogEvent, HarmontError>| match event.as_ref().expect("no error") {
        LogEvent::History(chunks) => chunks.iter().map(|chunk| chunk.seq).collect(),
        LogEvent::Chunk(chunk) => vec![chunk.seq],
        LogEvent::Done => Vec::new(),
    };
    log.iter().flat_map(of_event).collect()
}

fn last_event_ids(asked: &[Asked]) -> Vec<Option<&str>> {
    let streams = asked.iter().filter(|asked| asked.path.starts_with("/v0/jobs/"));
    streams
        .map(|asked| Some(asked.headers.get("last-event-id")?.to_str().expect("text")))
        .collect()
}

#[tokio::test]
async fn a_log_goes_on_where_it_was_cut_and_no_chunk_comes_twice() {
    let (log, asked) = log_of(|before| match before {
        // Cut in the middle of an event.
        0 => events(history([2, 3]) + &chunks([5]) + "event: chunk\nid: 7\ndata: {\"seq\":7,"),
        1 => refused(503, "restarting"),
        // All of it again, in other pieces.
        2 => events(history([2, 3, 5, 7]) + &chunks([3, 7])),
        3 => events(history([])),
        _ => events(history([9]) + &chunks([9, 12]) + DONE + &chunks([13])),
    })
    .await;
    assert_eq!(numbers(&log), [2, 3, 5, 7, 9, 12]);
    assert!(
        matches!(&log[0], Ok(LogEvent::History(chunks)) if chunks.len() == 2),
        "{log:?}"
    );
    let histories = log
        .iter()
        .filter(|event| matches!(event, Ok(LogEvent::History(_))));
    assert_eq!(histories.count(), 1);
    assert!(matches!(log.last(), Some(Ok(LogEvent::Done))), "{log:?}");
    assert_eq!(
        last_event_ids(&asked),
        [None, Some("5"), Some("5"), Some("7"), Some("7")]
    );
    let tokens = asked.iter().filter(|asked| asked.path.ends_with("/log-token"));
    assert_eq!(tokens.count(), 1, "one token is good for all of it");
}

#[tokio::test]
async fn a_log_token_goes_alone_and_is_renewed_when_it_is_not_taken_any_more() {
    let (client, server): (_, std::sync::Arc<Server>) = serve(|before, asked| match before {
        0 => token("first"),
        1 if asked.path.ends_with("?token=first") => events(history([1])),
        2 => refused(401, "unauthorized"),
        3 => token("second"),
        4 if asked.path.ends_with("?token=second") => events(chunks([2]) + DONE),
        _ => refused(500, "unexpected"),
    })
    .await;
    let log = log(&client).await;
    assert_eq!(numbers(&log), [1, 2]);
    for asked in server.asked() {
        let is_stream = asked.path.starts_with("/v0/jobs/");
        assert_eq!(
            asked.headers.contains_key("authorization"),
            !is_stream,
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn a_login_that_has_ended_ends_a_log_too() {
    let (client, server) = serve(|before, _| match before {
        0 => token("first"),
        1 => events(chunks([1])),
        _ => refused(401, "unauthorized"),
    })
    .await;
    let log = log(&client).await;
    assert!(
        matches!(log.as_slice(), [Ok(_), Err(HarmontError::Unauthorized)]),
        "{log:?}"
    );
    assert_eq!(server.asked().len(), 4, "the old token, and then a new one");
    assert!(!format!("{log:?}").contains("first"), "{log:?}");
}

#[tokio::test]
async fn a_log_that_is_none_says_so_and_ends() {
    for (nonsense, words) in [
        ("event: chunk\ndata: {\"seq\":\"x\"}\n\n", "u64"),
        ("event: chunk\ndata: \u{1b}[2J\n\n", "expected"),
        ("event: history\ndata: {}\n\n", "chunks"),
    ] {
        let (log, _) = log_of(move |_| events(chunks([1]) + nonsense + &chunks([2]))).await;
        let [Ok(LogEvent::Chunk(_)), Err(error @ HarmontError::Decode { .. })] = log.as_slice() else {
            panic!("{nonsense}: {log:?}");
        };
        assert!(error.to_string().contains(words), "{error}");
    }
    let (log, asked) = log_of(|_| "<html>a proxy's login page</html>".into_response()).await;
    assert!(
        matches!(log.as_slice(), [Err(HarmontError::Decode { reason, .. })] if reason.contains("text/plain")),
        "{log:?}"
    );
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn what_a_newer_server_says_beside_is_passed_over() {
    let newer = r#"{"seq":4,"stream_kind":9,"content":"new","colour":"red","ts":5}"#;
    let (log, _) = log_of(move |_| {
        events(format!(
            ": hello\n\nevent: mood\ndata: fine\n\nretry: 5\n\nevent: chunk\ndata: {newer}\n\n{DONE}"
        ))
    })
    .await;
    let [Ok(LogEvent::Chunk(chunk)), Ok(LogEvent::Done)] = log.as_slice() else {
        panic!("{log:?}");
    };
    assert_eq!((chunk.stream, chunk.ts_unix_ns), (StreamKind::Meta, Some(5)));
}

#[tokio::test]
async fn bytes_that_are_no_text_and_events_without_an_end_break_the_connection_alone() {
    let (log, asked) = log_of(|before| match before {
        0 => (
            [("content-type", "text/event-stream")],
            b"event: chunk\ndata: \xff\xfe\n\n".to_vec(),
        )
            .into_response(),
        1 => events(chunks([1]) + "data: " + &"x".repeat(9 << 20)),
        _ => events(chunks([2]) + DONE),
    })
    .await;
    assert_eq!(numbers(&log), [1, 2]);
    assert_eq!(last_event_ids(&asked), [None, None, Some("1")]);
}
