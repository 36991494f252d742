//! Requests and their answers.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures::stream;
use harmont_client::HarmontError;
use harmont_client::models::{BuildOptions, NewBuild, NewOrganization};

use crate::fake::{refused, serve};

const BUILD: &str =
    r#"{"number":7,"pipeline_slug":"ci","state":"running","created_at":"2026-01-01T00:00:00Z"}"#;

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
async fn a_build_that_a_server_took_without_its_options_is_canceled() {
    let new = NewBuild {
        run_options: BuildOptions {
            keep_going: true,
            ..BuildOptions::default()
        },
        ..NewBuild::default()
    };
    let none: Option<stream::Empty<_>> = None;
    let (client, server) = serve(|_, _| BUILD.into_response()).await;
    let error = client
        .submit_build("o", "ci", &new, none)
        .await
        .expect_err("it is not as asked");
    assert!(error.to_string().contains("without its options"), "{error}");
    let asked = server.asked();
    let body: serde_json::Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(body["run_options"], serde_json::json!({"keep_going": true}));
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (asked[1].method.as_str(), asked[1].path.as_str()),
        ("PUT", "/api/v0/organizations/o/pipelines/ci/builds/7/cancel")
    );

    let taken = BUILD.replace('}', r#","run_options":{"keep_going":true}}"#);
    let (client, server) = serve(move |_, _| taken.clone().into_response()).await;
    let none: Option<stream::Empty<_>> = None;
    let build = client.submit_build("o", "ci", &new, none).await.expect("a build");
    assert_eq!((build.run_options, server.asked().len()), (new.run_options, 1));
}

#[tokio::test]
async fn a_build_is_retried_once() {
    let (client, server) = serve(|_, _| refused(503, "starting")).await;
    client
        .retry_build("o", "ci", 7)
        .await
        .expect_err("the server is away");
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "a second time would be a second build");
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("POST", "/hm/v1/organizations/o/pipelines/ci/builds/7/retry")
    );
}
