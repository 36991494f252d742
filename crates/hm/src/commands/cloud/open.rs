//! `hm cloud open`.

use crate::browser;
use crate::cli::OpenArgs;
use crate::cloud::Session;
use crate::config::Config;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Prints where it is looked at, and opens a browser there.
///
/// The link logs nobody in unless that is asked for: other users of this machine see the arguments of the browser that
/// it is given to, and whoever comes first has the session.
pub(super) async fn open(context: &Context, config: &Config, args: &OpenArgs) -> Result<u8> {
    let session = Session::open(context, config)?;
    let path = path(&session, args).await?;
    let url = if args.login {
        let code = session.client.login_code().await?;
        login_link(&session.app_url, &code, &path)
    } else {
        format!("{}{path}", session.app_url)
    };
    context
        .printer
        .data(&format!("{url}\n"))
        .map_err(Failure::Output)?;
    if !args.no_browser && browser::open(&context.environment, &url) {
        context.printer.note("a browser opens it");
    }
    Ok(exit::PASSED)
}

/// A link that logs in whoever follows it first, and leads to a page.
pub(in crate::commands) fn login_link(app_url: &str, code: &str, path: &str) -> String {
    format!("{app_url}/login?code={code}&next={path}")
}

/// The page; what it is about has to be there.
async fn path(session: &Session, args: &OpenArgs) -> Result<String> {
    let Some(pipeline) = &args.pipeline else {
        return Ok(match &args.org.org {
            Some(org) => format!("/{}", session.client.organization(org).await?.slug),
            None => "/".into(),
        });
    };
    let org = session.org().await?;
    Ok(match args.number {
        Some(number) => {
            let build = session.client.build(&org, pipeline, number).await?;
            format!("/{org}/{}/builds/{}", build.pipeline_slug, build.number)
        }
        None => format!("/{org}/{}", session.client.pipeline(&org, pipeline).await?.slug),
    })
}
