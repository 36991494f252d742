//! All routes, and the document that describes them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::routes::Routes;
use super::{
    agent, builds, events, invites, job_log, jobs, login, members, meta, org_tokens, organizations,
    pipelines, retry, source, tokens, user,
};
use crate::auth::Access::{Account, Agent, Login, Org, Public, Runner, User, Watch};
use crate::error::{self, ApiError, request};
use crate::model::Role::{Admin, Member, Read};
use crate::state::App;

/// What the routes' own documentation leaves open.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "hm API", version = "0", description = "The published Harmont API, and what hm adds to it."),
    components(schemas(error::ErrorBody)),
    tags(
        (name = "auth"), (name = "builds"), (name = "jobs"), (name = "meta"), (name = "organizations"),
        (name = "pipelines"), (name = "user"),
        (name = "hm", description = "What hm adds"),
        (name = "agent", description = "What agents use")
    )
)]
struct Outline;

fn outline() -> OpenApi {
    let mut outline = Outline::openapi();
    let components = outline.components.get_or_insert_default();
    for (name, description) in [
        ("bearer", "A session token, an API key or an agent token."),
        ("runnerToken", "The token that came with a build's lease."),
    ] {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(description.to_owned());
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    outline
}

fn routes(app: &Arc<App>) -> (Router<Arc<App>>, OpenApi) {
    let large = DefaultBodyLimit::max(app.config.limits.events);
    Routes::new(Arc::clone(app), OpenApiRouter::with_openapi(outline()))
        .add(Public, routes!(meta::ping))
        .add(Public, routes!(meta::openapi))
        .add(Login, routes!(login::redeem))
        .add(Login, routes!(login::claim))
        .add(Account, routes!(login::code))
        .add(Account, routes!(login::transfer))
        .add(User, routes!(login::logout))
        .add(User, routes!(user::get))
        .add(Account, routes!(user::update))
        .add(Account, routes!(user::delete))
        .add(Account, routes!(tokens::list))
        .add(Account, routes!(tokens::create))
        .add(Account, routes!(tokens::revoke))
        .add(User, routes!(organizations::list))
        .add(Account, routes!(organizations::create))
        .add(Org(Read), routes!(organizations::get))
        .add(Org(Read), routes!(members::list))
        .add(Org(Admin), routes!(members::update))
        .add(Org(Member), routes!(members::remove))
        .add(Org(Admin), routes!(invites::list))
        .add(Org(Admin), routes!(invites::create))
        .add(Org(Admin), routes!(invites::revoke))
        .add(Account, routes!(invites::accept))
        .add(Login, routes!(invites::join))
        .add(Org(Admin), routes!(org_tokens::list))
        .add(Org(Admin), routes!(org_tokens::create))
        .add(Org(Admin), routes!(org_tokens::revoke))
        .add(Org(Read), routes!(pipelines::list))
        .add(Org(Member), routes!(pipelines::create))
        .add(Org(Read), routes!(pipelines::get))
        .add(Org(Read), routes!(builds::list))
        .add(Org(Member), routes!(builds::create))
        .add(Org(Member), routes!(builds::create_by_source))
        .add(Org(Read), routes!(builds::get))
        .add(Org(Member), routes!(builds::cancel))
        .add(Org(Member), routes!(retry::retry))
        .add(Org(Read), routes!(builds::log_token))
        .add(Org(Read), routes!(jobs::list))
        .add(Org(Read), routes!(jobs::get))
        .add(Watch, routes!(job_log::stream))
        .add(Watch, routes!(events::watch))
        .add(Runner, routes!(source::get))
        .add(Agent, routes!(agent::lease::lease))
        .add(Agent, routes!(agent::builds::heartbeat))
        .add(
            Agent,
            routes!(agent::builds::events).map(|route| route.layer(large)),
        )
        .add(Agent, routes!(agent::builds::complete))
        .add(Agent, routes!(agent::builds::release))
        .finish()
}

/// The document of all routes.
pub(crate) fn document(app: &Arc<App>) -> OpenApi {
    app.document.get_or_init(|| routes(app).1).clone()
}

/// The routes and the pages, behind what all of them share.
pub(crate) fn router(app: &Arc<App>, pages: Router) -> Router {
    let (router, document) = routes(app);
    app.document.get_or_init(|| document);
    router
        .method_not_allowed_fallback(async || {
            let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
            ApiError::new(
                status,
                "method_not_allowed",
                "This path does not take this method.",
            )
        })
        .with_state(Arc::clone(app))
        .merge(pages)
        .layer(DefaultBodyLimit::max(app.config.limits.request))
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(middleware::from_fn(request::named))
        // Tokens pass through here, and no answer is a page to be framed or guessed at.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
}
