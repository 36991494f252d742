//! Coming in and going out, and letting a command line in.

use askama::Template;
use axum::Extension;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::Utc;
use serde::Deserialize;

use super::error::{Frame, page};
use super::{Ctx, PageResult};
use crate::api::{SESSION, park_login, take_code};
use crate::auth::{Caller, cookie};
use crate::error::ApiError;
use crate::model::{NewToken, Role, TokenKind};
use crate::secret::Secret;
use crate::state::App;
use crate::{TokenId, UserId};

/// What a session of a browser is called among tokens.
const BROWSER: &str = "dashboard";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    code: String,
    next: String,
    problem: Option<String>,
}

impl LoginPage {
    fn new(code: String, next: String, problem: Option<String>) -> Self {
        Self {
            frame: Frame::new("Log in", None),
            code,
            next,
            problem,
        }
    }
}

/// What the address of the login's page may say.
#[derive(Deserialize, Default)]
pub(super) struct LoginQuery {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// What the login's form says.
#[derive(Deserialize)]
pub(super) struct LoginForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// Where to go on: a path of this server, or the first page.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain { next } else { "/" }
}

/// `GET /login`
pub(super) async fn form(query: Result<Query<LoginQuery>, QueryRejection>) -> Response {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let next = local(&query.next).to_owned();
    page(StatusCode::OK, &LoginPage::new(query.code, next, None))
}

/// What a login stands for.
struct Grant {
    user: UserId,
    org: Option<crate::OrgId>,
    cap: Role,
    expires_at: Option<chrono::DateTime<Utc>>,
    bound: Option<chrono::DateTime<Utc>>,
    made_with: Option<TokenId>,
}

/// `POST /login`
pub(super) async fn login(
    State(dashboard): Ctx,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> PageResult {
    let Ok(Form(form)) = form else {
        return Err(ApiError::malformed("The form is not complete. Go back and try again.").into());
    };
    let app = &dashboard.app;
    let next = local(&form.next).to_owned();
    if cookie::would_be_lost(&app.config, &headers) {
        let problem = format!(
            "This page was opened over plain http, and a browser keeps this server's login over https alone. Open {} instead.",
            app.config.app_url
        );
        return Ok(page(
            StatusCode::BAD_REQUEST,
            &LoginPage::new(form.code, next, Some(problem)),
        ));
    }
    let token = form.token.trim();
    let grant = if token.is_empty() {
        by_code(app, &form.code).await?
    } else {
        by_token(app, token).await?
    };
    let Some(grant) = grant else {
        let problem = if token.is_empty() {
            "This code is wrong, used up or older than five minutes. Make a new one."
        } else {
            "This token is unknown, expired or revoked, or it is an agent's."
        };
        return Ok(page(
            StatusCode::UNAUTHORIZED,
            &LoginPage::new(String::new(), next, Some(problem.to_owned())),
        ));
    };
    let now = Utc::now();
    let end = grant
        .expires_at
        .map_or(now + SESSION, |end| end.min(now + SESSION));
    let secret = Secret::new(TokenKind::Session.as_str()).map_err(ApiError::from)?;
    let session = NewToken {
        kind: TokenKind::Session,
        user: Some(grant.user),
        org: grant.org,
        cap: grant.cap,
        description: Some(BROWSER.to_owned()),
        expires_at: Some(end),
        bound: grant.bound,
        made_with: grant.made_with,
        hash: secret.hash(),
    };
    app.store.create_token(session, now).await?;
    Ok(with_cookie(
        Redirect::to(&next),
        &cookie::given(&app.config, &secret, end),
    ))
}

/// A browser's session can do what the token can, no longer, and not after it is revoked.
async fn by_token(app: &App, token: &str) -> Result<Option<Grant>, ApiError> {
    let caller = Caller::with(app, &Secret::presented(token)).await?;
    Ok(caller.and_then(|caller| {
        Some(Grant {
            user: caller.user_id().ok()?,
            org: caller.token.org,
            cap: caller.token.cap,
            expires_at: caller.token.expires_at,
            bound: caller.token.bound(),
            made_with: Some(caller.token.id),
        })
    }))
}

async fn by_code(app: &App, code: &str) -> Result<Option<Grant>, ApiError> {
    let login = take_code(app, code).await?;
    Ok(login.map(|login| Grant {
        user: login.user,
        org: None,
        cap: Role::Owner,
        expires_at: login.bound,
        bound: login.bound,
        made_with: None,
    }))
}

fn with_cookie(redirect: Redirect, cookie: &str) -> Response {
    let mut response = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `POST /logout`
pub(super) async fn logout(State(dashboard): Ctx, Extension(caller): Extension<Caller>) -> PageResult {
    let app = &dashboard.app;
    // Whoever put another token into the cookie may need it elsewhere.
    if caller.token.description.as_deref() == Some(BROWSER) {
        app.store.revoke_token(caller.token.id, Utc::now()).await?;
    }
    Ok(with_cookie(Redirect::to("/login"), &cookie::taken(&app.config)))
}

#[derive(Template)]
#[template(path = "cli.html")]
struct CliPage {
    frame: Frame,
    nonce: String,
    check: String,
    done: bool,
}

/// What a command line has sent the browser with.
#[derive(Deserialize, Default)]
pub(super) struct Nonce {
    #[serde(default)]
    pub(super) nonce: String,
}

/// `GET /cli`
pub(super) async fn cli(
    State(dashboard): Ctx,
    Extension(caller): Extension<Caller>,
    query: Result<Query<Nonce>, QueryRejection>,
) -> PageResult {
    let nonce = query.map(|Query(query)| query.nonce).unwrap_or_default();
    if nonce.is_empty() {
        return Err(
            ApiError::malformed("Open this page by `hm cloud login`, which adds what it needs.").into(),
        );
    }
    cli_page(&dashboard.app, &caller, nonce, false).await
}

/// `POST /cli`
pub(super) async fn let_in(
    State(dashboard): Ctx,
    Extension(caller): Extension<Caller>,
    form: Result<Form<Nonce>, FormRejection>,
) -> PageResult {
    let Ok(Form(Nonce { nonce })) = form else {
        return Err(ApiError::malformed("The form is not complete. Run `hm cloud login` again.").into());
    };
    park_login(&dashboard.app, &caller, &nonce).await?;
    cli_page(&dashboard.app, &caller, nonce, true).await
}

async fn cli_page(app: &App, caller: &Caller, nonce: String, done: bool) -> PageResult {
    let who = caller.user(app).await?.email;
    let template = CliPage {
        frame: Frame::new("Let a command line in", Some(who)),
        check: harmont_client::login::check_code(&nonce),
        nonce,
        done,
    };
    Ok(page(StatusCode::OK, &template))
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn one_goes_on_to_a_path_of_this_server_alone() {
        for path in ["/", "/acme/ci/builds/1?step=a#x", "/cli?nonce=a%20b"] {
            assert_eq!(local(path), path);
        }
        for other in [
            "",
            "//evil.test",
            "/\\evil.test",
            "https://evil.test",
            "evil",
            "/a\nb",
            "javascript:x",
            "/\t/evil.test",
        ] {
            assert_eq!(local(other), "/", "{other:?}");
        }
    }
}
