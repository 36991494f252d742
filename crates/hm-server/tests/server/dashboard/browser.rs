//! A browser, as far as a server can tell.

use futures::StreamExt;
use reqwest::{Method, RequestBuilder, redirect};

use crate::harness::{Answer, Running, sse};

/// A browser that follows no redirect, so that tests see them.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    base: String,
    pub cookie: Option<String>,
}

impl Browser {
    pub fn new(server: &Running) -> Self {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            http,
            base: format!("http://{}", server.address),
            cookie: None,
        }
    }

    /// One that has logged in with a token.
    pub async fn logged_in(server: &Running, token: &str) -> Self {
        let mut browser = Self::new(server);
        let answer = browser.post("/login", &[("token", token)]).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        browser.keep(&answer);
        browser
    }

    /// One of the owner of `acme`.
    pub async fn owner(server: &Running) -> Self {
        let token = server.owner().await.token.unwrap();
        Self::logged_in(server, &token).await
    }

    /// Keeps the cookie that an answer gives.
    pub fn keep(&mut self, answer: &Answer) {
        let given = answer.headers["set-cookie"].to_str().unwrap();
        self.cookie = Some(given.split(';').next().unwrap().to_owned());
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::to(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// A page that must be there.
    #[track_caller]
    pub fn page(&self, path: &str) -> impl Future<Output = String> {
        let (browser, path) = (self.clone(), path.to_owned());
        async move {
            let answer = browser.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            answer.text
        }
    }

    /// Sends a form of a page of this server.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let request = self
            .request(Method::POST, path)
            .header("origin", self.base.clone());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(body.join("&"))).await
    }

    /// Hears a stream until it has said so, or ends: names, numbers and data.
    pub async fn hear(
        &self,
        request: RequestBuilder,
        until: impl Fn(&str) -> bool,
    ) -> Vec<(String, String, serde_json::Value)> {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let (mut body, mut text) = (response.bytes_stream(), String::new());
        while !until(&text) {
            let Some(piece) = body.next().await else { break };
            text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        let whole = &text[..text.rfind("\n\n").map_or(0, |end| end + 2)];
        let events = sse(whole).into_iter();
        events
            .map(|(name, id, data)| (name, id, serde_json::from_str(&data).unwrap()))
            .collect()
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
