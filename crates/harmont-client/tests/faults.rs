//! Faults that a real server does not produce on demand; the real one is tried in `hm-server`'s tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use harmont_client::models::{NewBuild, NewOrganization};
use harmont_client::{HarmontClient, HarmontError};

const BUILD: &str =
    r#"{"number":7,"pipeline_slug":"ci","state":"running","created_at":"2026-01-01T00:00:00Z"}"#;

type Answer = Box<dyn Fn(usize, &Asked) -> Response + Send + Sync>;

/// One request as it arrived.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    headers: HeaderMap,
    body: String,
}

struct Server {
    answer: Answer,
    count: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    server.asked.lock().expect("no panic").push(asked.clone());
    (server.answer)(server.count.fetch_add(1, Ordering::SeqCst), &asked)
}

/// A server whose answers depend on how many requests there were before.
async fn serve(
    answer: impl Fn(usize, &Asked) -> Response + Send + Sync + 'static,
) -> (HarmontClient, Arc<Server>) {
    let server = Arc::new(Server {
        answer: Box::new(answer),
        count: AtomicUsize::new(0),
        asked: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(handle).with_state(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (HarmontClient::with_base_url("s3cret-token", base), server)
}

impl Server {
    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn refused(status: u16, code: &str) -> Response {
    let body = format!(r#"{{"error":{{"type":"t","code":"{code}","message":"words"}}}}"#);
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

#[tokio::test]
async fn what_is_asked_for_is_asked_again_while_the_server_is_away() {
    let (client, server) = serve(|before, _| match before {
        0 => refused(503, "starting"),
        1 => (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        _ => BUILD.into_response(),
    })
    .await;
    let build = client.build("org", "ci", 7).await.expect("a build");
    assert_eq!(build.number, 7);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].path, "/api/v0/organizations/org/pipelines/ci/builds/7");
    assert_eq!(asked[0].headers["authorization"], "Bearer s3cret-token");
}

#[tokio::test]
async fn what_makes_something_is_sent_once() {
    let (client, server) = serve(|_, _| refused(503, "starting")).await;
    let made = client.create_organization(&NewOrganization::default()).await;
    assert!(
        matches!(made, Err(HarmontError::Server { status: 503, .. })),
        "{made:?}"
    );
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn refusals_are_told_apart_and_not_tried_again() {
    type Check = fn(&HarmontError) -> bool;
    let kinds: [(u16, Check); 5] = [
        (401, |error| matches!(error, HarmontError::Unauthorized)),
        (
            403,
            |error| matches!(error, HarmontError::Forbidden { code, .. } if code == "c"),
        ),
        (
            404,
            |error| matches!(error, HarmontError::NotFound { message, .. } if message == "words"),
        ),
        (422, |error| {
            matches!(error, HarmontError::Rejected { status: 422, .. })
        }),
        (500, |error| {
            matches!(error, HarmontError::Server { status: 500, .. })
        }),
    ];
    for (status, is) in kinds {
        let (client, server) = serve(move |_, _| refused(status, "c")).await;
        let error = client.build("o", "p", 1).await.expect_err("refused");
        assert!(is(&error), "{status}: {error:?}");
        assert_eq!(server.asked().len(), 1, "{status}");
        assert!(!format!("{error:?} {error} {client:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn an_answer_that_is_none_of_the_api_says_so() {
    let (client, _server) = serve(|_, _| "<html>a proxy's login page</html>".into_response()).await;
    let error = client.current_user().await.expect_err("no user");
    assert!(
        matches!(&error, HarmontError::Decode { url, .. } if url == "/api/v0/user"),
        "{error:?}"
    );
}

#[tokio::test]
async fn names_that_are_no_path_stay_one_segment() {
    let (client, server) = serve(|_, _| refused(404, "none")).await;
    let _ = client.pipeline("a/../b", "c?d#e").await;
    assert_eq!(
        server.asked()[0].path,
        "/api/v0/organizations/a%2F..%2Fb/pipelines/c%3Fd%23e"
    );
}

#[tokio::test]
async fn the_source_is_part_of_the_body_as_it_comes() {
    let (client, server) = serve(|_, _| BUILD.into_response()).await;
    let new = NewBuild {
        branch: "main \"quoted\"".into(),
        pipeline_ir: Some("{}".into()),
        ..NewBuild::default()
    };
    let pieces = stream::iter(["QUJD", "REVG", "Rw=="].map(|piece| Ok(piece.into())));
    client
        .submit_build("o", "p", &new, Some(pieces))
        .await
        .expect("a build");
    let asked = server.asked();
    let body: serde_json::Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(
        (asked[0].method.as_str(), &body["source_b64"]),
        ("POST", &"QUJDREVGRw==".into())
    );
    assert_eq!(body["branch"], "main \"quoted\"");
}

#[tokio::test]
async fn records_go_on_where_the_connection_broke_and_none_comes_twice() {
    let event =
        |seq: u64| format!("id: {seq}\ndata: {{\"seq\":{seq},\"attempt\":1,\"note\":\"n{seq}\"}}\n\n");
    let (client, server) = serve(move |before, _| match before {
        // Cut in the middle of an event.
        0 => format!("{}{}id: 3\ndata: {{\"seq\":3", event(1), event(2)).into_response(),
        1 => refused(502, "restarting"),
        // It begins too early.
        2 => format!(": hello\n\n{}{}", event(2), event(3)).into_response(),
        _ => {
            let end = r#"{"seq":5,"attempt":1,"event":{"kind":"build_end","exit_code":0,"duration_ms":1}}"#;
            format!("{}id: 5\ndata: {end}\n\n", event(4)).into_response()
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
