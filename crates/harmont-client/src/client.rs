//! [`HarmontClient`]: where the server is, and who asks.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};

/// The public server.
pub const DEFAULT_BASE_URL: &str = "https://api.harmont.dev";

/// How long it may take until a connection stands.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take to begin, or to go on.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// Where a token is read anew; nothing where there is none at the moment. It may read a file.
type Renew = dyn Fn() -> Option<SecretString> + Send + Sync;

/// What somebody asks with, shared by all clones of a client.
#[derive(Clone)]
pub(crate) struct Token {
    current: Arc<RwLock<SecretString>>,
    renew: Option<Arc<Renew>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub(crate) fn current(&self) -> SecretString {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there is another token than the one that was refused.
    async fn replace(&self, refused: &SecretString) -> bool {
        let is_new = |token: &SecretString| token.expose_secret() != refused.expose_secret();
        if is_new(&self.current()) {
            return true;
        }
        let Some(renew) = self.renew.clone() else {
            return false;
        };
        let renewed = tokio::task::spawn_blocking(move || renew()).await;
        let Some(token) = renewed.ok().flatten().filter(is_new) else {
            return false;
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = token;
        true
    }
}

/// A client of one server. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct HarmontClient {
    pub(crate) http: Client,
    pub(crate) base: String,
    pub(crate) token: Option<Token>,
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
            token: Some(Token {
                current: Arc::new(RwLock::new(token)),
                renew: None,
            }),
            ..Self::anonymous(base)
        }
    }

    /// The same, which asks `renew` for another token when its own is refused: a token's file may have been written anew. Only an
    /// agent's requests ([`crate::agent`]) do so.
    #[must_use]
    pub fn renewing(mut self, renew: impl Fn() -> Option<SecretString> + Send + Sync + 'static) -> Self {
        if let Some(token) = &mut self.token {
            token.renew = Some(Arc::new(renew));
        }
        self
    }

    /// Does `work`, and again where the token was refused and there is another one by now.
    pub(crate) async fn with_fresh_token<T, F>(&self, work: impl Fn() -> F) -> crate::Result<T>
    where
        F: Future<Output = crate::Result<T>>,
    {
        let token = self.token.as_ref().map(|token| (token, token.current()));
        match (work().await, token) {
            (Err(crate::HarmontError::Unauthorized), Some((token, refused)))
                if token.replace(&refused).await =>
            {
                work().await
            }
            (done, _) => done,
        }
    }

    /// A client without a token, for what needs none: the login.
    pub fn anonymous(base: impl Into<String>) -> Self {
        let base: String = base.into();
        let mut builder = Client::builder();
        if is_loopback(&base) {
            // No proxy reaches this machine's own addresses as this machine does.
            builder = builder.no_proxy();
        }
        let http = builder
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

    /// The proxy that requests go through, as the environment names it, without any password.
    pub(crate) fn proxy(&self) -> Option<String> {
        if is_loopback(&self.base) {
            return None;
        }
        let uri = self.base.parse().ok()?;
        let proxy = Matcher::from_env().intercept(&uri)?;
        let uri = proxy.uri();
        Some(format!(
            "{}://{}",
            uri.scheme_str()?,
            uri.authority()?.as_str().rsplit('@').next()?
        ))
    }

    /// Where the server is, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base
    }
}

/// Whether a URL is of this machine itself.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<Url>() else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}
