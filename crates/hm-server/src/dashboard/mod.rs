//! The dashboard: pages that the server writes as HTML, readable without a script; the scripts add life.
//!
//! What a page knows comes from two places. The store has builds and jobs; a build's log has everything else, and is
//! never read whole into memory: an [`outline::Outline`] folds it once into what each step came to and where in the log its lines
//! are, and is kept for whoever asks next. A page holds the end of a step's log and fetches the rest by range.
//!
//! The policy in [`routes`] forbids every script, style and picture that is not a file of [`assets`]; whatever people wrote goes through
//! the templates' escaping, or [`ansi`]'s.

mod ansi;
mod assets;
mod build;
mod changes;
mod error;
mod graph;
mod guard;
mod lists;
mod live;
mod login;
mod look;
mod moved;
mod outline;
mod palette;
mod paths;
mod pen;
mod routes;
mod said;
mod shown;
mod step;
mod text_log;
mod time;
mod walk;
mod window;

pub(crate) use routes::router;
pub(crate) use shown::Shown;

use std::sync::Arc;

use crate::state::App;

/// What a page sees of the server.
pub(crate) struct Dashboard {
    app: Arc<App>,
    outlines: outline::Outlines,
}

/// What a handler sees.
type Ctx = axum::extract::State<Arc<Dashboard>>;

/// What a handler answers.
type PageResult<T = axum::response::Response> = Result<T, error::PageError>;
