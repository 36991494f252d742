//! A server, asked as somebody.

use harmont_client::HarmontClient;
use secrecy::{ExposeSecret, SecretString};

use super::KeptLogins;
use crate::config::{Config, Origin};
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};

/// A server, asked as somebody.
#[derive(Debug)]
pub struct Session {
    /// Asks it.
    pub client: HarmontClient,
    /// Where it is.
    pub server: String,
    /// Where builds are looked at in a browser.
    pub app_url: String,
    org: Option<String>,
}

/// The server that the configuration names, or the one that was logged in to last.
///
/// # Errors
/// When there is none.
pub fn server_named(config: &Config, logins: &KeptLogins) -> Result<String> {
    let named = config.cloud.api_url.as_deref().or(logins.current());
    named.map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            "not logged in to any server",
            [
                "`hm cloud login --url URL` logs in to one",
                "`hm server --dev` starts one here",
            ],
        )
    })
}

impl Session {
    /// The session with the server that the configuration names, or the one that was logged in to last.
    ///
    /// # Errors
    /// When there is none, or no login to it.
    pub fn open(context: &Context, config: &Config) -> Result<Self> {
        let logins = KeptLogins::read(&context.environment)?;
        let url = server_named(config, &logins)?;
        let kept = logins.of(&url);
        let token = match context.environment.get(env_vars::HM_API_TOKEN) {
            Some(token) => {
                refuse_the_projects_server(context, &url)?;
                SecretString::from(token)
            }
            None => kept.map(|kept| kept.token.clone()).ok_or_else(|| {
                Failure::usage(
                    format!("not logged in to {url}"),
                    [format!("`hm cloud login --url {url}` logs in")],
                )
            })?,
        };
        Ok(Self {
            client: HarmontClient::with_base_url(token.expose_secret(), &url),
            app_url: config.cloud.app_url.clone().unwrap_or_else(|| url.clone()),
            server: url,
            org: config.cloud.org.clone().or_else(|| kept?.org.clone()),
        })
    }

    /// The organization: the one that was named or chosen, or the only one.
    ///
    /// # Errors
    /// When the server cannot be asked, or there are several.
    pub async fn org(&self) -> Result<String> {
        if let Some(org) = &self.org {
            return Ok(org.clone());
        }
        let found = self.client.organizations(None, None).await?.data;
        let slugs: Vec<&str> = found.iter().map(|org| org.slug.as_str()).collect();
        match slugs[..] {
            [only] => Ok(only.to_owned()),
            [] => Err(Failure::usage(
                "you are in no organization",
                ["have somebody invite you to one"],
            )),
            _ => Err(Failure::usage(
                "you are in more than one organization: say which",
                [
                    format!("they are: {}", slugs.join(", ")),
                    "`hm cloud org use ORG` chooses one, `--org ORG` for once".into(),
                ],
            )),
        }
    }

    /// Where people watch a build.
    #[must_use]
    pub fn watch_url(&self, org: &str, pipeline: &str, number: i64) -> String {
        format!("{}/{org}/{pipeline}/builds/{number}", self.app_url)
    }
}

/// A repository says where its builds go, but not who gets the token that the environment has.
fn refuse_the_projects_server(context: &Context, url: &str) -> Result<()> {
    let Some((_, Origin::File(file))) = context.layers.get("cloud.api_url") else {
        return Ok(());
    };
    if context.environment.user_config().as_ref() == Some(file) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{} would have HM_API_TOKEN sent to {url}", file.display()),
        [format!("set HM_API_URL={url} as well if that is right")],
    ))
}
