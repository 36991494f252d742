//! `hm cloud org`.

use harmont_client::models::Organization;
use serde_json::json;

use super::{head, json_lines};
use crate::cloud::{KeptLogins, Session, server_named};
use crate::commands::table;
use crate::config::Config;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// All organizations of the user.
async fn all(session: &Session) -> Result<Vec<Organization>> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = session.client.organizations(Some(100), cursor.as_deref()).await?;
        found.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// Lists them, and marks the chosen one.
pub(super) async fn list(context: &Context, config: &Config, json: bool) -> Result<String> {
    let session = Session::open(context, config)?;
    let found = all(&session).await?;
    let chosen = session.org().await.ok();
    let is_chosen = |org: &Organization| chosen.as_ref() == Some(&org.slug);
    if json {
        let lines = found
            .iter()
            .map(|org| json!({"org": org.slug, "name": org.name, "current": is_chosen(org)}));
        return json_lines(lines);
    }
    let mut rows = vec![head(["ORG", "NAME", "CURRENT"])];
    rows.extend(found.iter().map(|org| {
        let mark = if is_chosen(org) { "*" } else { "" };
        vec![org.slug.clone(), org.name.clone(), mark.to_owned()]
    }));
    Ok(table::columns(&rows))
}

/// Remembers an organization.
pub(super) async fn choose(context: &Context, config: &Config, org: &str) -> Result<u8> {
    let session = Session::open(context, config)?;
    let org = session.client.organization(org).await?.slug;
    let mut logins = KeptLogins::read(&context.environment)?;
    let url = server_named(config, &logins)?;
    if !logins.choose_org(&url, &org)? {
        return Err(Failure::usage(
            format!("there is no login to {url} that could remember it: HM_API_TOKEN is used"),
            [format!("set HM_ORG={org}")],
        ));
    }
    context.printer.note(&format!("builds are for {org} from now on"));
    Ok(exit::PASSED)
}
