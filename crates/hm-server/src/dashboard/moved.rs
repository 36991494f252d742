//! Addresses that lead to a page under another one: those that published clients link to, and those that a person shortens by hand.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::error::PageError;
use super::login::Nonce;
use super::paths::{build_path, encoded, pipeline_path};

/// `GET /cli-login?port=&nonce=`. The command line asks for its token by the nonce, so that nobody has to listen at the port.
pub(super) async fn cli_login(query: Result<Query<Nonce>, QueryRejection>) -> Redirect {
    let nonce = query.map(|Query(query)| query.nonce).unwrap_or_default();
    Redirect::to(&format!("/cli?nonce={}", encoded(&nonce)))
}

/// `GET /{org}/{pipeline}/builds`
pub(super) async fn builds(Path((org, pipeline)): Path<(String, String)>) -> Redirect {
    Redirect::to(&pipeline_path(&org, &pipeline))
}

/// `GET /{org}/pipelines/{pipeline}/builds/{number}`
pub(super) async fn build(Path((org, pipeline, number)): Path<(String, String, i64)>) -> Redirect {
    Redirect::to(&build_path(&org, &pipeline, number))
}

/// Whatever no other page has: a slash at the end stands for the page without it.
pub(super) async fn elsewhere(method: Method, uri: Uri) -> Response {
    match without_slash(uri.path()) {
        Some(path) if matches!(method, Method::GET | Method::HEAD) => {
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            Redirect::to(&format!("{path}{query}")).into_response()
        }
        _ => PageError::missing().into_response(),
    }
}

/// Two slashes at the beginning would name another server.
fn without_slash(path: &str) -> Option<&str> {
    let short = path.strip_suffix('/')?.trim_end_matches('/');
    let is_local = !short.is_empty() && !short.starts_with("//") && !short.contains('\\');
    is_local.then_some(short)
}

#[cfg(test)]
mod tests {
    use super::without_slash;

    #[test]
    fn slash_at_the_end_is_taken_off_and_never_leads_to_another_server() {
        assert_eq!(without_slash("/acme/ci/"), Some("/acme/ci"));
        assert_eq!(without_slash("/acme//"), Some("/acme"));
        for path in ["/", "//", "//evil.test/", "/acme", "/\\evil.test/"] {
            assert_eq!(without_slash(path), None, "{path}");
        }
    }
}
