//! The guard before every route. A route cannot be added without saying who may use it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use chrono::Utc;

use crate::auth::{Caller, Scope, Watched, address, bearer, cookie};
use crate::error::ApiError;
use crate::model::{Role, TokenKind};
use crate::state::App;
use crate::{BuildId, JobId, OrgId};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Public,
    /// Everybody who has a code; seldom, for codes can be guessed.
    Login,
    /// A person, with any token.
    User,
    /// A person, with a token that is limited neither to an organization nor in what it may do: whoever can
    /// make tokens or change the person's account can do everything.
    Account,
    /// Whoever has at least this role in the organization that the path names. To everybody else that
    /// organization does not exist.
    Org(Role),
    /// An agent.
    Agent,
    /// The agent that runs the build that the path names, by the token that came with the build.
    Runner,
    /// Whoever has a log token of the build, or may read in its organization.
    Watch,
}

/// The state of a [`guard`].
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    pub(crate) access: Access,
}

/// Lets a request through or answers it. What it found out goes along as extensions.
pub(crate) async fn guard(
    State(gate): State<Gate>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let app = &gate.app;
    let address = address::of(&request, &app.config.trusted_proxies);
    let param = |name| {
        params
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    match gate.access {
        Access::Public => app.rates.address(address)?,
        Access::Login => app.rates.login(address)?,
        Access::User => {
            let caller = known(app, request.headers(), address).await?;
            caller.user_id()?;
            request.extensions_mut().insert(caller);
        }
        Access::Account => {
            let caller = known(app, request.headers(), address).await?;
            caller.user_id()?;
            if !caller.token.is_full() {
                return Err(ApiError::forbidden(
                    "limited_token",
                    "This token is limited to reading or to one organization. Use one that is not.",
                ));
            }
            request.extensions_mut().insert(caller);
        }
        Access::Org(least) => {
            let caller = known(app, request.headers(), address).await?;
            caller.user_id()?;
            let scope = scope(app, &caller, param("org").unwrap_or_default()).await?;
            if scope.role < least {
                return Err(ApiError::forbidden(
                    "insufficient_role",
                    format!(
                        "This needs the role `{}` in `{}`; yours, or your token's, is `{}`.",
                        least.as_str(),
                        scope.org.slug,
                        scope.role.as_str()
                    ),
                ));
            }
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(scope);
        }
        Access::Agent => {
            let caller = known(app, request.headers(), address).await?;
            let org = agent_org(&caller)?;
            request.extensions_mut().insert(AgentOrg(org));
        }
        Access::Runner => {
            let build = param("build_uuid").and_then(|id| id.parse::<BuildId>().ok());
            let secret = bearer(request.headers());
            let known = match (build, &secret) {
                (Some(build), Some(secret)) => app.store.is_runner(build, &secret.hash()).await?,
                _ => false,
            };
            if !known {
                app.rates.address(address)?;
                return Err(ApiError::unauthorized());
            }
        }
        Access::Watch => {
            let job = param("job_id").map(|id| id.parse().ok());
            let build = param("build_uuid").map(|id| id.parse().ok());
            let token = log_token(request.uri());
            let from = Source {
                headers: request.headers(),
                method: request.method(),
                address,
            };
            let watched = watched(app, from, token, build.flatten(), job.flatten()).await?;
            request.extensions_mut().insert(watched);
        }
    }
    Ok(next.run(request).await)
}

/// The organization of an agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentOrg(pub(crate) OrgId);

fn agent_org(caller: &Caller) -> Result<OrgId, ApiError> {
    match (caller.token.kind, caller.token.org) {
        (TokenKind::Agent, Some(org)) => Ok(org),
        _ => Err(ApiError::forbidden(
            "not_an_agent",
            "This is for agents. Make an agent token in the organization, and use that.",
        )),
    }
}

/// Where a request comes from.
#[derive(Clone, Copy)]
struct Source<'a> {
    headers: &'a HeaderMap,
    method: &'a Method,
    address: IpAddr,
}

/// A page's `EventSource` can send no header, but its browser has a session.
async fn watcher(app: &App, from: Source<'_>) -> Result<Caller, ApiError> {
    let headers = from.headers;
    if bearer(headers).is_none()
        && from.method == Method::GET
        && let Some(secret) = cookie::presented(headers)
        && let Some(caller) = Caller::with(app, &secret).await?
    {
        app.rates.token(caller.token.id, caller.token.kind)?;
        return Ok(caller);
    }
    known(app, headers, from.address).await
}

async fn known(app: &App, headers: &HeaderMap, address: IpAddr) -> Result<Caller, ApiError> {
    let Some(caller) = Caller::find(app, headers).await? else {
        app.rates.address(address)?;
        return Err(ApiError::unauthorized());
    };
    app.rates.token(caller.token.id, caller.token.kind)?;
    Ok(caller)
}

/// The organization of a slug, where the caller belongs to it.
pub(crate) async fn scope(app: &App, caller: &Caller, slug: &str) -> Result<Scope, ApiError> {
    let missing = || {
        ApiError::not_found(
            "organization_not_found",
            format!("There is no organization `{slug}` that you belong to."),
        )
    };
    let org = app.store.organization(slug).await?.ok_or_else(missing)?;
    let role = caller.role(app, org.id).await?.ok_or_else(missing)?;
    Ok(Scope { org, role })
}

async fn watched(
    app: &App,
    from: Source<'_>,
    token: Option<&str>,
    build: Option<BuildId>,
    job: Option<JobId>,
) -> Result<Watched, ApiError> {
    let token_build = match token {
        None => None,
        // Whoever sends a log token means it, whatever else the request has: a client that is refused makes a new one.
        Some(token) => match app.signer.log_build(token, Utc::now()) {
            None => {
                app.rates.address(from.address)?;
                return Err(ApiError::log_stream_unauthorized());
            }
            build => build,
        },
    };
    let caller = match token_build {
        Some(_) => None,
        None => Some(watcher(app, from).await?),
    };
    let missing = || ApiError::not_found("log_not_found", "There is no such log that you may read.");
    let job = match job {
        Some(job) => Some(app.store.job(job).await?.ok_or_else(missing)?),
        None => None,
    };
    let id = job.as_ref().map(|job| job.build).or(build).ok_or_else(missing)?;
    let build = app.store.build_by_id(id).await?.ok_or_else(missing)?;
    let allowed = match &caller {
        None => token_build == Some(build.id),
        Some(caller) => caller.role(app, build.org).await?.is_some(),
    };
    if !allowed {
        return Err(missing());
    }
    Ok(Watched {
        build,
        job,
        by: caller,
    })
}

/// `token` of the query. Log tokens have no character that would be escaped there.
fn log_token(uri: &Uri) -> Option<&str> {
    let pairs = uri.query()?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == "token")
        .map(|(_, value)| value)
}
