//! Errors as clients see them: one JSON envelope for every failure.

mod full;
pub(crate) mod request;

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::blobs::BlobError;
use crate::build::{EventsError, Fault, LeaseError, RetryError, SubmitError};
use crate::logs::LogError;
use crate::rates::TooMany;
use crate::secret::NoRandomness;
use crate::store::StoreError;

/// Why a request was not done. Nothing secret and nothing about the server's insides is in it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

/// The error envelope.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// One of a closed set, for generic handling.
    r#type: &'static str,
    /// Stable; what scripts match on.
    code: &'static str,
    /// For people.
    message: String,
    /// Where the code is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    doc_url: Option<String>,
    /// Finds the request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request_id: Option<String>,
}

/// The longest message: a parser repeats a wrong value, which may be as long as the request.
const MESSAGE: usize = 4 << 10;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE));
            message.push('…');
        }
        Self {
            status,
            code,
            message,
            retry_after: None,
        }
    }

    /// The request makes no sense.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", message)
    }

    /// The request makes sense and cannot be done.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "The token is missing, unknown, expired or revoked. Send a good one as `Authorization: Bearer TOKEN`.",
        )
    }

    /// The log token of a stream is none, or not any more.
    pub(crate) fn log_stream_unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "log_stream_unauthorized",
            "The log token in `token` is unknown or has expired. Make a new one.",
        )
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// It was there and is kept no longer.
    pub(crate) fn gone(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, code, message)
    }

    pub(crate) fn too_large(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, message)
    }

    /// A body beyond a limit, which is named.
    pub(crate) fn body_too_large(what: &str, limit: usize) -> Self {
        Self::too_large(
            "request_too_large",
            format!("{what} has more than the {limit} bytes that this server takes."),
        )
    }

    pub(crate) fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("Too many requests. Try again in {seconds} s."),
        );
        Self {
            retry_after: Some(seconds),
            ..error
        }
    }

    /// The server failed. Only its log says why.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, request = request::id(), "a request failed");
        if full::is_full(error) {
            let message = "The server's disk is full. What it acknowledged is kept; ask for this again when there is room.";
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", message);
        }
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "The server failed. Its log says why, under this request's id.",
        )
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// After how many seconds it may be tried again.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    const fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::CONFLICT => "conflict",
            StatusCode::TOO_MANY_REQUESTS => "rate_limited",
            status if status.as_u16() >= 500 => "server_error",
            _ => "invalid_request",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: ErrorDetail {
                r#type: self.kind(),
                code: self.code,
                message: self.message,
                doc_url: None,
                request_id: request::id(),
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<TooMany> for ApiError {
    fn from(error: TooMany) -> Self {
        Self::too_many(error.wait)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Taken(what) => Self::invalid("taken", format!("{what} is taken already.")),
            _ => Self::internal(&error),
        }
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        Self::internal(&error)
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        Self::internal(&error)
    }
}

impl From<NoRandomness> for ApiError {
    fn from(error: NoRandomness) -> Self {
        Self::internal(&error)
    }
}

impl From<Fault> for ApiError {
    fn from(error: Fault) -> Self {
        Self::internal(&error)
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rejected { build, error } => Self::invalid(
                "plan_rejected",
                format!("Build #{} failed at once: {error}.", build.number),
            ),
            SubmitError::PlanTooLarge { .. } => {
                Self::too_large("plan_too_large", format!("The build was not taken: {error}."))
            }
            SubmitError::BadOptions(_) => {
                Self::invalid("bad_options", format!("The build cannot run so: {error}."))
            }
            SubmitError::Fault(error) => error.into(),
        }
    }
}

impl From<RetryError> for ApiError {
    fn from(error: RetryError) -> Self {
        let message = format!("{error}.");
        match error {
            RetryError::PlanRefused(_) => Self::conflict("plan_rejected", message),
            RetryError::SourceGone(_) => Self::gone("source_gone", message),
            RetryError::ManualDisabled(_) => Self::forbidden("manual_builds_disabled", message),
            RetryError::Submit(error) => error.into(),
        }
    }
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::conflict(
                "lease_lost",
                "This attempt at the build is over. Stop it, throw away what it did, and ask for another build.",
            ),
            LeaseError::Fault(error) => error.into(),
        }
    }
}

impl From<EventsError> for ApiError {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::Gap { next } => Self::conflict(
                "events_missing",
                format!("Events are missing. Send from {next} on."),
            ),
            EventsError::Bad { .. } => Self::invalid("bad_event", format!("{error}.")),
            EventsError::TooLarge { .. } => Self::too_large("event_too_large", format!("{error}.")),
            EventsError::Lease(error) => error.into(),
        }
    }
}
