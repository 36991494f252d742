//! What the server's answers are to whoever runs a build.

use harmont_client::HarmontError;

use crate::BackendError;

/// An error of the client as one of the backend.
pub(super) fn backend_error(error: HarmontError) -> BackendError {
    match error {
        HarmontError::Unauthorized => BackendError::Unauthorized,
        HarmontError::Forbidden { code, message } | HarmontError::Rejected { code, message, .. } => {
            BackendError::Rejected { code, message }
        }
        HarmontError::NotFound { message, .. } => BackendError::NotFound(message),
        error @ (HarmontError::Transport { .. } | HarmontError::Server { .. }) => {
            BackendError::Transport(error.to_string())
        }
        error => BackendError::Other(error.to_string()),
    }
}
