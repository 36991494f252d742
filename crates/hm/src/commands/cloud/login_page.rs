//! A login that a person lets in at the server's own page, in a browser that is logged in.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harmont_client::login::check_code;
use harmont_client::{HarmontClient, HarmontError};
use secrecy::SecretString;

use crate::browser;
use crate::cli::LoginArgs;
use crate::config::{Config, Origin};
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};
use crate::signals::Signals;

/// How long to wait before asking again; the server lets nobody ask for codes and nonces more often in the long run.
const PAUSE: Duration = Duration::from_secs(2);

/// Has somebody let this command line in, and tells the session's token.
pub(super) async fn log_in(
    context: &Context,
    config: &Config,
    url: &str,
    args: &LoginArgs,
) -> Result<SecretString> {
    if args.url.is_none() {
        refuse_the_projects(context, "cloud.api_url")?;
    }
    let app_url = match &config.cloud.app_url {
        Some(app_url) if args.url.is_none() || config.cloud.api_url.as_deref() == Some(url) => {
            refuse_the_projects(context, "cloud.app_url")?;
            app_url
        }
        _ => url,
    };
    let with_a_token = format!(
        "a token needs no browser: `hm cloud login --url {url} --token-file FILE`, where `-` is standard input"
    );
    if !HarmontClient::anonymous(app_url).has_login_page().await? {
        let made = "`hm server token` prints one where the server's data is".to_owned();
        return Err(Failure::usage(
            format!("{app_url} has no page to log in at"),
            [with_a_token, made],
        ));
    }
    let mut signals = Signals::take_over().map_err(Failure::io("cannot handle", "Ctrl-C"))?;
    let nonce = nonce()?;
    let page = format!("{app_url}/cli?nonce={nonce}");
    let printer = context.printer;
    printer.note(&format!(
        "open this page, and let the login in if it shows {}:",
        check_code(&nonce)
    ));
    printer.data(&format!("{page}\n")).map_err(Failure::Output)?;
    if !args.no_browser && browser::open(&context.environment, &page) {
        printer.note("a browser opens it");
    }
    printer.note("waiting for the browser; Ctrl-C ends it");
    tokio::select! {
        token = claimed(context, url, &nonce) => token,
        () = signals.next() => Err(Failure::Interrupted),
        () = tokio::time::sleep(args.wait) => Err(Failure::usage(
            format!("nobody has let the login in within {}", humantime::format_duration(args.wait)),
            ["the same again makes a new page; `--wait` waits longer".into(), with_a_token],
        )),
    }
}

/// The token, when the page has handed it over.
async fn claimed(context: &Context, url: &str, nonce: &str) -> Result<SecretString> {
    let client = HarmontClient::anonymous(url);
    loop {
        match client.claim_login(nonce).await {
            Ok(Some(token)) => return Ok(token),
            Ok(None) => {}
            Err(error) if error.is_transient() => context.printer.detail(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What nobody can guess, and so nobody else can ask for.
fn nonce() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| HarmontError::Usage(format!("this machine has no random numbers: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A repository may not choose who learns the nonce: whoever has it gets the session that a person lets in.
fn refuse_the_projects(context: &Context, key: &str) -> Result<()> {
    let projects: Option<(&str, &PathBuf)> = match context.layers.get(key) {
        Some((url, Origin::File(file))) if context.environment.user_config().as_ref() != Some(file) => {
            Some((url, file))
        }
        _ => None,
    };
    projects.map_or(Ok(()), |(url, file)| {
        let variable = match key {
            "cloud.api_url" => env_vars::HM_API_URL,
            _ => env_vars::HM_APP_URL,
        };
        Err(Failure::usage(
            format!("{} would have the login go to {url}", file.display()),
            [format!("set {variable}={url} as well if that is right")],
        ))
    })
}
