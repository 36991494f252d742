//! The guard before every page. It says the same as the API's, to people.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::error::PageError;
use crate::auth::{Caller, address, cookie, scope};
use crate::error::ApiError;
use crate::model::Role;
use crate::state::App;

/// Who may see a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Everybody.
    Open,
    /// Everybody; seldom, for what is sent there can be guessed.
    Login,
    /// Whoever is logged in.
    Person,
    /// Whoever is logged in without a limit.
    Account,
    /// Whoever has at least this role in the organization that the path names. To everybody else it does not exist.
    Org(Role),
}

/// The state of a [`guard`].
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) app: Arc<App>,
    pub(super) door: Door,
}

/// Lets a request through or answers it. What it found out goes along as extensions.
pub(super) async fn guard(
    State(gate): State<Gate>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, PageError> {
    let app = &gate.app;
    let address = address::of(&request, &app.config.trusted_proxies);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && !cookie::is_from_own_page(&app.config, request.headers()) {
        app.rates.address(address)?;
        return Err(foreign().into());
    }
    match gate.door {
        Door::Open => {}
        Door::Login => app.rates.login(address)?,
        Door::Person | Door::Account | Door::Org(_) => {
            let Some(caller) = logged_in(app, request.headers()).await? else {
                app.rates.address(address)?;
                let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                // A form cannot be sent again after the login.
                let next = if reads { path } else { "/" };
                return Err(PageError::Login(next.to_owned()));
            };
            app.rates.token(caller.token.id, caller.token.kind)?;
            if gate.door == Door::Account && !caller.token.is_full() {
                return Err(limited().into());
            }
            if let Door::Org(least) = gate.door {
                let org = params
                    .iter()
                    .find(|(key, _)| *key == "org")
                    .map(|(_, value)| value);
                let scope = scope(app, &caller, org.unwrap_or_default())
                    .await
                    .map_err(|_| PageError::missing())?;
                if scope.role < least {
                    return Err(read_only(scope.role).into());
                }
                request.extensions_mut().insert(scope);
            }
            request.extensions_mut().insert(caller);
        }
    }
    Ok(next.run(request).await)
}

/// Agents are nobody.
async fn logged_in(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    let Some(secret) = cookie::presented(headers) else {
        return Ok(None);
    };
    let caller = Caller::with(app, &secret).await?;
    Ok(caller.filter(|caller| caller.user_id().is_ok()))
}

fn foreign() -> ApiError {
    ApiError::forbidden(
        "foreign_origin",
        "This was not sent by a page of this server, so nothing was done. Go back, reload the page and try again.",
    )
}

fn limited() -> ApiError {
    ApiError::forbidden(
        "limited_token",
        "This login is limited to reading or to one organization. Log in with one that is not.",
    )
}

fn read_only(role: Role) -> ApiError {
    ApiError::forbidden(
        "insufficient_role",
        format!(
            "Your role here, or your login's, is `{}`: it may look and change nothing.",
            role.as_str()
        ),
    )
}
