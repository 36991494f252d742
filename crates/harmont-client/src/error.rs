//! What can go wrong between a client and the server.

/// The result of a request.
pub type Result<T, E = HarmontError> = std::result::Result<T, E>;

/// Why a request did not give what was asked for. None of these holds the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarmontError {
    /// The server does not know who is asking (HTTP 401).
    #[error("not logged in, or the login has expired")]
    Unauthorized,
    /// Whoever asks may not do that (HTTP 403).
    #[error("not allowed ({code}): {message}")]
    Forbidden {
        /// The server's stable code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// There is no such thing, or not for whoever asks (HTTP 404).
    #[error("not found ({code}): {message}")]
    NotFound {
        /// The server's stable code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server understood the request and refused it (any other 4xx).
    #[error("refused ({code}): {message}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The server's stable code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server failed (5xx).
    #[error("the server failed with {status} ({code}): {message}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// The server's stable code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server could not be reached, or the connection broke.
    #[error("cannot reach {base}: {reason}")]
    Transport {
        /// The server's base URL.
        base: String,
        /// What happened.
        reason: String,
    },
    /// The answer is none of this API.
    #[error("{url} answers something that is not the Harmont API: {reason}")]
    Decode {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A request that cannot be sent: a base URL that is none, a token with line breaks.
    #[error("{0}")]
    Usage(String),
}

impl HarmontError {
    /// Whether a later try may go better without anybody doing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Server { status, .. } => matches!(*status, 502..=504 | 507),
            Self::Rejected { status, .. } => *status == 429,
            _ => false,
        }
    }
}
