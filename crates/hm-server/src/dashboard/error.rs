//! Errors as people see them.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::assets::{NAMES, Names};
use super::look;
use crate::error::ApiError;
use crate::logs::LogError;
use crate::rates::TooMany;
use crate::store::StoreError;

/// Why there is no page, or another one.
#[derive(Debug)]
pub(super) enum PageError {
    /// The person has to log in, and goes on to this path then.
    Login(String),
    Api(ApiError),
}

/// What every page has.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) icon: String,
    pub(super) names: &'static Names,
    /// Who is logged in.
    pub(super) who: Option<String>,
}

impl Frame {
    pub(super) fn new(title: impl Into<String>, who: Option<String>) -> Self {
        Self {
            title: title.into(),
            icon: look::icon("passed"),
            names: &NAMES,
            who,
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    status: u16,
    message: String,
}

impl PageError {
    /// There is nothing at this path, or nothing for this person.
    pub(super) fn missing() -> Self {
        Self::Api(ApiError::not_found(
            "not_found",
            "There is no such page, or it is another organization's.",
        ))
    }
}

/// A page, whatever its status.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Login(next) => {
                let next = super::paths::encoded(&next);
                return Redirect::to(&format!("/login?next={next}")).into_response();
            }
            Self::Api(error) => error,
        };
        let status = error.status();
        let title = match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            status if status.is_server_error() => "The server failed",
            _ => "This cannot be done",
        };
        let template = ErrorPage {
            frame: Frame::new(title, None),
            status: status.as_u16(),
            message: error.message().to_owned(),
        };
        let mut response = page(status, &template);
        if let Some(seconds) = error.retry_after() {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<TooMany> for PageError {
    fn from(error: TooMany) -> Self {
        Self::Api(error.into())
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Api(error.into())
    }
}

impl From<LogError> for PageError {
    fn from(error: LogError) -> Self {
        Self::Api(error.into())
    }
}
