//! The session of a browser, and whether a request comes from a page of ours.

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HOST, ORIGIN};
use chrono::{DateTime, Utc};

use crate::config::ServerConfig;
use crate::secret::Secret;

const NAME: &str = "hm_session";

/// The secret that a browser presents.
pub(crate) fn presented(headers: &HeaderMap) -> Option<Secret> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let found = pairs
        .filter(|(name, _)| *name == NAME)
        .map(|(_, value)| value)
        .next()?;
    Some(Secret::presented(found))
}

/// The header that gives a browser its session.
pub(crate) fn given(config: &ServerConfig, secret: &Secret, expires_at: DateTime<Utc>) -> String {
    let seconds = (expires_at - Utc::now()).num_seconds().max(0);
    header(config, secret.reveal(), seconds)
}

/// The header that takes it away.
pub(crate) fn taken(config: &ServerConfig) -> String {
    header(config, "", 0)
}

/// Whether the session's cookie is for https alone.
fn is_secure(config: &ServerConfig) -> bool {
    config.app_url.starts_with("https://")
}

/// Whether the browser that sent a form would not keep its session: it takes a cookie for https alone over nothing else, but from
/// its own machine.
pub(crate) fn would_be_lost(config: &ServerConfig, headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let Some(host) = origin.and_then(|origin| origin.strip_prefix("http://")) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_here =
        name == "localhost" || name.ends_with(".localhost") || name == "[::1]" || name.starts_with("127.");
    is_secure(config) && !is_here
}

fn header(config: &ServerConfig, value: &str, seconds: i64) -> String {
    let secure = if is_secure(config) { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

/// Whether a request that changes something was sent by a page of ours: another site's page can have a browser
/// send it too, cookie and all. A browser says where it comes from in one of two headers; who says nothing is none.
pub(crate) fn is_from_own_page(config: &ServerConfig, headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &axum::http::HeaderValue| value.to_str().ok())
    };
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return false;
    };
    let ours = [&config.app_url, &config.public_url]
        .into_iter()
        .any(|url| origin_of(url) == Some(origin));
    // Reached under another name of the same machine, or through a proxy.
    let host = origin.split_once("://").map(|(_, host)| host);
    ours || (host.is_some() && host == text(HOST.as_str()))
}

/// The scheme and host of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url.get(host..)?.find('/').map_or(url.len(), |end| host + end);
    url.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> ServerConfig {
        ServerConfig::new("data".into(), url)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, axum::http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let found = |lines: &[(&'static str, &'static str)]| {
            presented(&headers(lines)).map(|secret| secret.reveal().to_owned())
        };
        assert_eq!(
            found(&[("cookie", "a=b; hm_session=x=y; c=d")]).as_deref(),
            Some("x=y")
        );
        assert_eq!(
            found(&[("cookie", "a=b"), ("cookie", "hm_session=z")]).as_deref(),
            Some("z")
        );
        assert_eq!(found(&[("cookie", "xhm_session=z; hm_session2=z")]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_cookie_is_the_servers_alone_and_secret_where_it_can_be() {
        let end = Utc::now() + chrono::TimeDelta::seconds(100);
        let plain = given(&config("http://ci.test"), &Secret::presented("s"), end);
        assert!(
            plain.starts_with("hm_session=s; Path=/; HttpOnly; SameSite=Lax; Max-Age="),
            "{plain}"
        );
        assert!(!plain.contains("Secure"));
        let safe = given(&config("https://ci.test"), &Secret::presented("s"), end);
        assert!(safe.ends_with("; Secure"), "{safe}");
        assert!(taken(&config("https://ci.test")).contains("hm_session=; "));
    }

    #[test]
    fn login_over_plain_http_is_lost_where_the_server_is_https() {
        let lost = |url: &str, origin| would_be_lost(&config(url), &headers(&[("origin", origin)]));
        assert!(lost("https://ci.test", "http://ci.test"));
        assert!(lost("https://ci.test", "http://10.0.0.1:8080"));
        assert!(!lost("https://ci.test", "https://ci.test"));
        assert!(!lost("https://ci.test", "http://localhost:8080"));
        assert!(!lost("https://ci.test", "http://[::1]:8080"));
        assert!(!lost("http://ci.test", "http://ci.test"));
    }

    #[test]
    fn only_pages_of_our_own_may_change_things() {
        let config = config("https://ci.test/hm");
        let own = |pairs: &[(&'static str, &'static str)]| is_from_own_page(&config, &headers(pairs));
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "https://ci.test")]));
        assert!(own(&[
            ("origin", "http://localhost:8080"),
            ("host", "localhost:8080")
        ]));
        assert!(!own(&[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://ci.test")
        ]));
        assert!(!own(&[("sec-fetch-site", "same-site")]));
        assert!(!own(&[("origin", "https://evil.test"), ("host", "ci.test")]));
        assert!(!own(&[("origin", "null"), ("host", "ci.test")]));
        assert!(!own(&[("origin", "https://ci.test.evil.test")]));
        assert!(!own(&[]));
    }
}
