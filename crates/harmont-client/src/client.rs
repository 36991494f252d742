//! [`HarmontClient`]: where the server is, and who asks.

use std::time::Duration;

use reqwest::Client;
use secrecy::SecretString;

/// The public server.
pub const DEFAULT_BASE_URL: &str = "https://api.harmont.dev";

/// How long it may take until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take to begin, or to go on.
const SILENCE: Duration = Duration::from_secs(60);

/// A client of one server. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct HarmontClient {
    pub(crate) http: Client,
    pub(crate) base: String,
    pub(crate) token: Option<SecretString>,
}

impl HarmontClient {
    /// A client of the public server.
    pub fn new(token: impl Into<String>) -> Self {
        Self::with_base_url(token, DEFAULT_BASE_URL)
    }

    /// A client of the server at a base URL, such as `http://127.0.0.1:8080`.
    pub fn with_base_url(token: impl Into<String>, base: impl Into<String>) -> Self {
        let token = SecretString::from(token.into());
        Self {
            token: Some(token),
            ..Self::anonymous(base)
        }
    }

    /// A client without a token, for what needs none: the login.
    pub fn anonymous(base: impl Into<String>) -> Self {
        let base: String = base.into();
        let http = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(concat!("harmont-client/", env!("CARGO_PKG_VERSION")))
            .build()
            // The builder fails on settings that are not used here.
            .unwrap_or_default();
        Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            token: None,
        }
    }

    /// Where the server is, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base
    }
}
