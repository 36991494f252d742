//! Sending a request and reading its answer.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::retry::retried;
use crate::{HarmontClient, HarmontError, Result};

/// An answer longer than this is none of this API's.
const LONGEST_ANSWER: usize = 64 << 20;

/// The error envelope of the API.
#[derive(Deserialize)]
struct Envelope {
    error: Refusal,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

impl HarmontClient {
    /// Asks for something; sent again when that may help.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T> {
        retried(|| async {
            let request = self.request(Method::GET, path)?.query(query);
            self.answer(self.send(request).await?).await
        })
        .await
    }

    /// Asks for a change that is the same however often it is made; sent again when that may help.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        retried(|| async {
            let request = self.request(Method::PUT, path)?;
            self.answer(self.send(request).await?).await
        })
        .await
    }

    /// Removes something; sent again when that may help.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<()> {
        retried(|| async {
            let request = self.request(Method::DELETE, path)?;
            self.send(request).await.map(drop)
        })
        .await
    }

    /// Makes something. Sent once: a second time would make a second one.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        let request = self.request(Method::POST, path)?.json(body);
        self.answer(self.send(request).await?).await
    }

    /// Changes something.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        let request = self.request(Method::PATCH, path)?.json(body);
        self.answer(self.send(request).await?).await
    }

    /// A request to a path below `/api/v0`, with the token.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder> {
        self.request_to(method, &[&["api", "v0"], path].concat())
    }

    /// A request to any path of the server, with the token.
    pub(crate) fn request_to(&self, method: Method, path: &[&str]) -> Result<RequestBuilder> {
        let mut url = reqwest::Url::parse(&self.base).map_err(|error| {
            HarmontError::Usage(format!("`{}` is no URL of a server: {error}", self.base))
        })?;
        url.path_segments_mut()
            .map_err(|()| HarmontError::Usage(format!("`{}` is no URL of a server", self.base)))?
            .pop_if_empty()
            .extend(path);
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            let text = format!("Bearer {}", token.current().expose_secret());
            let mut value = reqwest::header::HeaderValue::from_str(&text).map_err(|_| {
                HarmontError::Usage("the token has characters that no token has: log in again".into())
            })?;
            value.set_sensitive(true);
            request = request.header(reqwest::header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Sends it, and turns every status that is no success into an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = response.url().path().to_owned();
        let text = response.text().await.unwrap_or_default();
        let Refusal { code, message } = match serde_json::from_str::<Envelope>(&text) {
            Ok(envelope) => envelope.error,
            Err(_) => Refusal {
                code: "http".into(),
                message: format!("{url} answers {status}"),
            },
        };
        Err(match status {
            StatusCode::UNAUTHORIZED => HarmontError::Unauthorized,
            StatusCode::FORBIDDEN => HarmontError::Forbidden { code, message },
            StatusCode::NOT_FOUND => HarmontError::NotFound { code, message },
            _ if status.is_server_error() => HarmontError::Server {
                status: status.as_u16(),
                code,
                message,
            },
            _ => HarmontError::Rejected {
                status: status.as_u16(),
                code,
                message,
            },
        })
    }

    pub(crate) async fn answer<T: DeserializeOwned>(&self, mut response: Response) -> Result<T> {
        let url = response.url().path().to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST_ANSWER {
                return Err(HarmontError::Decode {
                    url,
                    reason: "the answer does not end".into(),
                });
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| HarmontError::Decode {
            url,
            reason: error.to_string(),
        })
    }

    pub(crate) fn broken(&self, error: &reqwest::Error) -> HarmontError {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        // The outermost text repeats the URL; the innermost says what happened.
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        if reason.is_empty() {
            reason = if error.is_timeout() {
                "it did not answer in time".into()
            } else {
                // A query may have a log token in it.
                let text = error.to_string();
                error
                    .url()
                    .map_or_else(|| text.clone(), |url| text.replace(url.as_str(), url.path()))
            };
        }
        if let Some(proxy) = self.proxy().filter(|_| error.is_connect()) {
            reason = format!(
                "{reason} (through the proxy {proxy} that the environment names; `no_proxy` says what is reached without one)"
            );
        }
        HarmontError::Transport {
            base: self.base.clone(),
            reason,
        }
    }
}
