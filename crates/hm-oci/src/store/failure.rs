//! Why a registry did not give what it was asked for.

use std::error::Error;

use oci_client::errors::{OciDistributionError, OciErrorCode};

/// Why a registry did not give what it was asked for. Says nothing of addresses that may hold a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It may well be different in a moment.
    #[error("{0}")]
    ForNow(String),
    /// It has no such thing.
    #[error("it has no such image")]
    NotFound,
    /// It does not give it to us.
    #[error("it refuses: {0}")]
    Denied(String),
    /// What it gave is of no use.
    #[error("{0}")]
    Unusable(String),
}

impl Failure {
    pub(super) const fn is_for_now(&self) -> bool {
        matches!(self, Self::ForNow(_))
    }
}

impl From<OciDistributionError> for Failure {
    fn from(error: OciDistributionError) -> Self {
        use OciDistributionError as E;
        match error {
            E::RequestError(error) => request(error),
            E::IoError(error) => Self::ForNow(innermost(&error)),
            E::UnauthorizedError { .. } => {
                Self::Denied("it wants a login, or there is no such image that this login may see".into())
            }
            E::AuthenticationFailure(_) => Self::Denied("the login is not valid".into()),
            E::ImageManifestNotFoundError(_) => Self::NotFound,
            E::ServerError { code, .. } => status(code),
            E::RegistryError { envelope, .. } => {
                let codes = || envelope.errors.iter().map(|error| &error.code);
                let messages: Vec<_> = envelope
                    .errors
                    .iter()
                    .map(|error| short(&error.message))
                    .collect();
                let said = messages.join("; ");
                use OciErrorCode as C;
                if codes().any(|code| matches!(code, C::Unauthorized | C::Denied)) {
                    Self::Denied(said)
                } else if codes().any(|code| {
                    matches!(
                        code,
                        C::ManifestUnknown | C::NameUnknown | C::NotFound | C::BlobUnknown
                    )
                }) {
                    Self::NotFound
                } else if codes().any(|code| matches!(code, C::Toomanyrequests)) {
                    Self::ForNow(format!("it says: {said}"))
                } else {
                    Self::Unusable(format!("it says: {said}"))
                }
            }
            other => Self::Unusable(short(&other.to_string())),
        }
    }
}

fn status(code: u16) -> Failure {
    match code {
        401 | 403 => Failure::Denied(format!("it answers {code}")),
        404 => Failure::NotFound,
        408 | 425 | 429 | 500.. => Failure::ForNow(format!("it answers {code}")),
        _ => Failure::Unusable(format!("it answers {code}")),
    }
}

/// A request that got no answer, or not all of one.
fn request(error: impl Error + 'static) -> Failure {
    let cause = innermost(&error);
    if cause.contains("InvalidContentType") {
        return Failure::Unusable(
            "it speaks plain HTTP where TLS was expected: if that is right, say so with `plain_http = true` \
             under `[registries.\"HOST:PORT\"]`"
                .into(),
        );
    }
    Failure::ForNow(cause)
}

/// The cause of causes: those above it repeat the address.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    short(&cause.to_string())
}

/// What a registry says is somebody else's text.
fn short(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
