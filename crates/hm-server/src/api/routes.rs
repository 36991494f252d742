//! Routes, each with who may use it. There is no other way to add one.

use std::sync::Arc;

use axum::{Router, middleware};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::auth::{Access, Gate, guard};
use crate::state::App;

/// Routes under way.
pub(super) struct Routes {
    app: Arc<App>,
    router: OpenApiRouter<Arc<App>>,
    /// The same handlers under the published API's next version.
    next: Router<Arc<App>>,
}

/// Where a path of version 0 of the published API is in version 1, which has the same resources. What is added to a
/// version's answers is optional for the other's clients, so that the answers are the same.
fn in_version_1(path: &str) -> Option<String> {
    let versions = [("/api/v0/", "/api/v1/"), ("/v0/", "/v1/")];
    versions
        .iter()
        .find_map(|(zero, one)| Some(format!("{one}{}", path.strip_prefix(zero)?)))
}

impl Routes {
    pub(super) fn new(app: Arc<App>, router: OpenApiRouter<Arc<App>>) -> Self {
        Self {
            app,
            router,
            next: Router::new(),
        }
    }

    /// Adds a handler behind its guard, and the guard's answers to the handler's documentation.
    pub(super) fn add(mut self, access: Access, route: UtoipaMethodRouter<Arc<App>>) -> Self {
        let (schemas, mut paths, handler) = route;
        for item in paths.paths.values_mut() {
            for operation in operations(item) {
                describe(operation, access);
            }
        }
        let gate = Gate {
            app: Arc::clone(&self.app),
            access,
        };
        let guarded = handler.layer(middleware::from_fn_with_state(gate, guard));
        for path in paths.paths.keys().filter_map(|path| in_version_1(path)) {
            self.next = self.next.route(&path, guarded.clone());
        }
        self.router = self.router.routes((schemas, paths, guarded));
        self
    }

    /// All routes, and the document of them.
    pub(super) fn finish(self) -> (Router<Arc<App>>, OpenApi) {
        let (router, document) = self.router.split_for_parts();
        (router.merge(self.next), document)
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .filter_map(Option::as_mut)
}

fn describe(operation: &mut Operation, access: Access) {
    let mut answers = vec![
        ("400", "The request makes no sense"),
        ("429", "Too many requests"),
    ];
    let security = match access {
        Access::Public | Access::Login => None,
        Access::Runner => Some("runnerToken"),
        Access::User | Access::Account | Access::Org(_) | Access::Agent | Access::Watch => Some("bearer"),
    };
    if let Some(scheme) = security {
        answers.push(("401", "Missing or invalid token"));
        let none: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new(scheme, none)]);
    }
    if matches!(
        access,
        Access::User | Access::Account | Access::Org(_) | Access::Agent | Access::Watch
    ) {
        answers.push(("403", "The token does not allow this"));
    }
    if matches!(access, Access::Org(_) | Access::Watch) {
        answers.push(("404", "There is nothing of this name"));
    }
    if operation.request_body.is_some() {
        answers.push(("413", "The request's body is too large"));
        answers.push(("415", "The request's body is of another type"));
        answers.push(("422", "The request cannot be done as it is"));
    }
    for (status, description) in answers {
        let answer = || {
            let error = Content::new(Some(Ref::from_schema_name("Error")));
            let response = ResponseBuilder::new().description(description);
            RefOr::T(response.content("application/json", error).build())
        };
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(answer);
    }
}
