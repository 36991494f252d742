//! The routes: a file per audience and resource. What stands under `/api/v0` and `/v0` is the published API, to the letter; what is
//! ours alone stands under `/hm/v1` and `/agent/v1`.

mod agent;
mod builds;
mod document;
mod events;
mod extract;
mod invites;
mod job_log;
mod jobs;
mod login;
mod members;
mod meta;
mod options;
mod org_tokens;
mod organizations;
mod page;
mod pipelines;
mod retry;
mod routes;
mod source;
mod split;
mod text;
mod tokens;
mod upload;
mod user;

use std::sync::Arc;

use axum::extract::State;

pub(crate) use document::{document, router};
pub(crate) use login::{SESSION, park_login, take_code};
pub(crate) use text::names_organization;

use crate::error::ApiError;
use crate::state::App;

/// What a handler sees of the server.
type Ctx = State<Arc<App>>;

/// What a handler answers.
type ApiResult<T> = Result<T, ApiError>;
