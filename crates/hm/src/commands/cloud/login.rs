//! `hm cloud login`, `logout` and `whoami`.

use std::io::Read;
use std::path::{Path, PathBuf};

use harmont_client::{HarmontClient, HarmontError};
use secrecy::{ExposeSecret, SecretString};

use super::login_page;
use crate::cli::LoginArgs;
use crate::cloud::{Kept, KeptLogins, Session, server_named};
use crate::commands::table;
use crate::config::{Config, server_url};
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::{env_vars, exit};

/// The most that a file with a token has.
const LONGEST: u64 = 4096;

/// Tries a token, trades a code for one, or has a browser hand one over, and keeps it.
pub(super) async fn login(context: &Context, config: &Config, args: &LoginArgs) -> Result<u8> {
    let mut logins = KeptLogins::read(&context.environment)?;
    let url = match &args.url {
        Some(url) => server_url(url).ok_or_else(|| {
            Failure::plain_usage(format!(
                "`{url}` is no URL of a server, such as `https://ci.example.org`"
            ))
        })?,
        None => server_named(config, &logins)?,
    };
    if is_in_the_clear(&url) {
        context.printer.warning(&format!(
            "{url} is not encrypted: whoever is between you and it sees the token and your source"
        ));
    }
    let standard_input = args.paste.then(|| PathBuf::from("-"));
    let file = args.token_file.as_ref().or(standard_input.as_ref());
    let token = match (&args.token, file, &args.code) {
        (Some(token), _, _) => SecretString::from(token.trim()),
        (None, Some(file), _) => read_token(context, file)?,
        (None, None, Some(code)) => HarmontClient::anonymous(&url).redeem_login_code(code).await?,
        (None, None, None) => login_page::log_in(context, config, &url, args).await?,
    };
    let client = HarmontClient::with_base_url(token.expose_secret(), &url);
    let user = client.current_user().await.map_err(|error| match error {
        HarmontError::Unauthorized => {
            Failure::plain_usage(format!("{url} does not know this token, or not any more"))
        }
        error => error.into(),
    })?;
    let found = client.organizations(None, None).await?.data;
    let before = logins.of(&url).and_then(|kept| kept.org.clone());
    let org = before
        .filter(|before| found.iter().any(|org| org.slug == *before))
        .or_else(|| match &found[..] {
            [only] => Some(only.slug.clone()),
            _ => None,
        });
    let told = org.as_ref().map_or_else(
        || "; `hm cloud org use ORG` chooses an organization".to_owned(),
        |org| format!(", organization {org}"),
    );
    logins.keep(&url, Kept { token, org })?;
    context
        .printer
        .note(&format!("logged in to {url} as {}{told}", user.email));
    if context.environment.get(env_vars::HM_API_TOKEN).is_some() {
        context
            .printer
            .warning("HM_API_TOKEN is set and goes over this login");
    }
    Ok(exit::PASSED)
}

/// Ends the session on the server, and forgets it here.
pub(super) async fn logout(context: &Context, config: &Config) -> Result<u8> {
    let mut logins = KeptLogins::read(&context.environment)?;
    let url = server_named(config, &logins)?;
    let Some(kept) = logins.of(&url) else {
        context.printer.note(&format!("not logged in to {url}"));
        return Ok(exit::PASSED);
    };
    let client = HarmontClient::with_base_url(kept.token.expose_secret(), &url);
    let ended = client.logout().await;
    logins.forget(&url)?;
    match ended {
        Ok(()) | Err(HarmontError::Unauthorized) => context.printer.note(&format!("logged out of {url}")),
        Err(error) => context.printer.warning(&format!(
            "the login is forgotten here, but the server was not told, and its token may still be good: {error}"
        )),
    }
    Ok(exit::PASSED)
}

/// Who is logged in where.
pub(super) async fn whoami(context: &Context, config: &Config, json: bool) -> Result<String> {
    let session = Session::open(context, config)?;
    let user = session.client.current_user().await?;
    let org = session.org().await.ok();
    if json {
        let line = serde_json::json!({
            "server": session.client.base_url(),
            "email": user.email,
            "name": user.name,
            "org": org,
        });
        return super::json_lines([line]);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    Ok(table::columns(&[
        row("server", session.client.base_url().to_owned()),
        row("user", user.email),
        row("name", super::or_dash(user.name)),
        row("organization", super::or_dash(org)),
    ]))
}

/// A token from a file, or from standard input for `-`.
pub(in crate::commands) fn read_token(context: &Context, file: &Path) -> Result<SecretString> {
    if file != Path::new("-") {
        return token_in(&context.environment.cwd.join(file));
    }
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(Failure::io("cannot read the token in", file))?;
    token_of(file, &text)
}

/// The token in a file, as it is at this moment.
pub(in crate::commands) fn token_in(path: &Path) -> Result<SecretString> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|opened| opened.take(LONGEST).read_to_string(&mut text))
        .map_err(Failure::io("cannot read the token in", path))?;
    token_of(path, &text)
}

fn token_of(file: &Path, text: &str) -> Result<SecretString> {
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::plain_usage(format!("{} has no token", file.display())));
    }
    Ok(SecretString::from(token))
}

/// Whether what is sent there can be read on the way.
fn is_in_the_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
}
