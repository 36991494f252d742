//! A step's whole log as plain text, streamed.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use futures::stream;

use super::build::{find, job_of};
use super::said::Text;
use super::walk::Walk;
use super::{Ctx, Dashboard, PageResult};
use crate::auth::Scope;
use crate::logs::LogError;

/// `GET /{org}/{pipeline}/builds/{number}/jobs/{job_id}/log`
pub(super) async fn log(
    State(dashboard): Ctx,
    Extension(scope): Extension<Scope>,
    Path((_, pipeline, number, job)): Path<(String, String, String, String)>,
) -> PageResult {
    let (_, build) = find(&dashboard, &scope, &pipeline, &number).await?;
    let job = job_of(&dashboard, &build, &job).await?;
    let logs = &*dashboard.app.logs;
    let (marks, last) = {
        let outline = dashboard.outlines.of(&build, logs).await?;
        let step = outline.steps.get(&job.id.0);
        step.map_or_else(|| (Vec::new(), 0), |step| (step.marks.clone(), step.lines))
    };
    let walk = Walk::begin(logs, build.id, job.id.0, marks, last).await?;
    let rest = walk.map(|walk| (dashboard, walk, Text::default()));
    let lines = stream::try_unfold(rest, piece);
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// What is still to be sent.
type Rest = Option<(Arc<Dashboard>, Walk, Text)>;

async fn piece(state: Rest) -> Result<Option<(Bytes, Rest)>, LogError> {
    let Some((dashboard, mut walk, mut open)) = state else {
        return Ok(None);
    };
    let lines = walk.next(&*dashboard.app.logs).await?;
    let mut text = String::new();
    if lines.is_empty() {
        open.finish(&mut text);
        return Ok((!text.is_empty()).then(|| (Bytes::from(text), None)));
    }
    for line in &lines {
        if let Some(said) = line.said() {
            open.add(&said, &mut text);
        }
    }
    Ok(Some((Bytes::from(text), Some((dashboard, walk, open)))))
}
