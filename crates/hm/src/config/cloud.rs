//! The settings about a server. Its token is none of them.

use super::reader::Reader;
use crate::config_error::ConfigError;

/// The most source that is sent unless somebody says otherwise.
const MAX_SOURCE: u64 = 1 << 30;

/// Where the server is, and what is wanted there.
#[derive(Debug, Clone)]
pub struct CloudSettings {
    /// Where it is; `None` is the one that was logged in to last.
    pub api_url: Option<String>,
    /// Where builds are looked at in a browser; `None` is the same place.
    pub app_url: Option<String>,
    /// The organization; `None` is the one that was chosen, or the only one.
    pub org: Option<String>,
    /// The pipeline of all builds; `None` is found for each.
    pub pipeline: Option<String>,
    /// The most source that is sent, in bytes.
    pub max_source: u64,
}

impl CloudSettings {
    /// Checks every value.
    ///
    /// # Errors
    /// A value that makes no sense, and who set it.
    pub(super) fn check(read: &Reader<'_>) -> Result<Self, ConfigError> {
        let url = |key| read.value(key, "a URL, such as `https://ci.example.org`", server_url);
        let slug = |key| read.value(key, "a name as it stands in URLs, such as `my-team`", slug);
        Ok(Self {
            api_url: url("cloud.api_url")?,
            app_url: url("cloud.app_url")?,
            org: slug("cloud.org")?,
            pipeline: slug("cloud.pipeline")?,
            max_source: read.size("cloud.max_source")?.unwrap_or(MAX_SOURCE),
        })
    }
}

/// A server's URL without a slash at the end; none that has a user's name or a password in it.
pub fn server_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split('/').next()?;
    let good = matches!(scheme, "http" | "https")
        && !host.is_empty()
        && !host.contains('@')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#'));
    good.then(|| text.trim_end_matches('/').to_owned())
}

fn slug(text: &str) -> Option<String> {
    let good = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    good.then(|| text.to_owned())
}
