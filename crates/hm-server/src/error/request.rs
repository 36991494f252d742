//! What every request gets, whatever its route: an id, and an answer even to a panic.

use std::any::Any;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::ApiError;

tokio::task_local! {
    static ID: String;
}

/// The id of the request that the current task works on.
pub(super) fn id() -> Option<String> {
    ID.try_with(Clone::clone).ok()
}

/// Names each request, so that its error can be found in the log. Logged are the method and the path's
/// pattern: a path or a query may hold a secret.
pub(crate) async fn named(request: Request, next: Next) -> Response {
    let id = format!("req_{}", Uuid::now_v7().simple());
    let header = HeaderValue::from_str(&id);
    let mut response = ID.scope(id, next.run(request)).await;
    if let Ok(header) = header {
        response.headers_mut().insert("x-request-id", header);
    }
    response
}

/// A handler panicked.
#[derive(Debug, thiserror::Error)]
#[error("a handler panicked: {0}")]
struct Panicked(String);

/// The answer to a panic.
#[expect(clippy::needless_pass_by_value, reason = "tower-http hands it over")]
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    ApiError::internal(&Panicked(text.unwrap_or("no message").to_owned())).into_response()
}
