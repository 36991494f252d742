//! All pages, each with who may see it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};

use super::guard::{Door, Gate, guard};
use super::{Dashboard, assets, build, lists, live, login, moved, outline, text_log};
use crate::error::ApiError;
use crate::model::Role::{Member, Read};
use crate::state::App;

/// Nothing but our own files and requests.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What answers in JSON even to a path that there is not.
const APIS: [&str; 10] = [
    "/api",
    "/api/{*rest}",
    "/hm",
    "/hm/{*rest}",
    "/agent",
    "/agent/{*rest}",
    "/v0",
    "/v0/{*rest}",
    "/v1",
    "/v1/{*rest}",
];

/// Pages under way.
struct Pages {
    app: Arc<App>,
    router: Router<Arc<Dashboard>>,
}

impl Pages {
    fn add(mut self, door: Door, path: &str, route: MethodRouter<Arc<Dashboard>>) -> Self {
        let gate = Gate {
            app: Arc::clone(&self.app),
            door,
        };
        let guarded = route.layer(middleware::from_fn_with_state(gate, guard));
        self.router = self.router.route(path, guarded);
        self
    }
}

/// The pages, to be merged with the API.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let dashboard = Arc::new(Dashboard {
        app: Arc::clone(app),
        outlines: outline::Outlines::default(),
    });
    let pages = Pages {
        app: Arc::clone(app),
        router: Router::new(),
    };
    let pages = pages
        .add(Door::Open, "/assets/{name}", get(assets::get))
        .add(Door::Open, "/login", get(login::form))
        .add(Door::Login, "/login", post(login::login))
        .add(Door::Person, "/logout", post(login::logout))
        .add(Door::Account, "/cli", get(login::cli).post(login::let_in))
        .add(Door::Open, "/cli-login", get(moved::cli_login))
        .add(Door::Person, "/", get(lists::all))
        .add(Door::Org(Read), "/{org}", get(lists::organization))
        .add(Door::Org(Read), "/{org}/{pipeline}", get(lists::pipeline))
        .add(Door::Open, "/{org}/{pipeline}/builds", get(moved::builds))
        .add(
            Door::Open,
            "/{org}/pipelines/{pipeline}/builds/{number}",
            get(moved::build),
        )
        .add(
            Door::Org(Read),
            "/{org}/{pipeline}/builds/{number}",
            get(build::show),
        )
        .add(
            Door::Org(Member),
            "/{org}/{pipeline}/builds/{number}/cancel",
            post(build::cancel),
        )
        .add(
            Door::Org(Member),
            "/{org}/{pipeline}/builds/{number}/retry",
            post(build::retry),
        )
        .add(
            Door::Org(Read),
            "/{org}/{pipeline}/builds/{number}/live",
            get(live::live),
        )
        .add(
            Door::Org(Read),
            "/{org}/{pipeline}/builds/{number}/jobs/{job_id}/lines",
            get(build::lines),
        )
        .add(
            Door::Org(Read),
            "/{org}/{pipeline}/builds/{number}/jobs/{job_id}/log",
            get(text_log::log),
        );
    let apis = APIS.iter().fold(Router::new(), |router: Router, path| {
        router.route(
            path,
            any(async || ApiError::not_found("not_found", "There is nothing at this path.")),
        )
    });
    pages
        .router
        .with_state(dashboard)
        .fallback(moved::elsewhere)
        .layer(middleware::from_fn(headers))
        .merge(apis)
}

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
