//! Lists of builds and pipelines.

use std::collections::HashMap;

use askama::Template;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use serde::Deserialize;

use super::error::{Frame, PageError, page};
use super::look::{self, Look};
use super::paths::{build_path, encoded, org_path, pipeline_path};
use super::shown::clamped;
use super::step::took;
use super::time::{Moment, exact};
use super::{Ctx, Dashboard, PageResult};
use crate::auth::{Caller, Scope};
use crate::model::{Build, BuildState, Organization, Pipeline};
use crate::store::RecentBuilds;
use crate::{BuildId, OrgId, PipelineId};

/// How many builds are on a page.
const PAGE: u32 = 30;
/// How many pipelines are.
const PIPELINES: u32 = 50;
/// How many builds of each pipeline are shown beside its name.
const LAST: u32 = 8;
/// How many columns of a commit's subject.
pub(super) const SUBJECT: usize = 200;
/// How many organizations of a person are named.
const ORGANIZATIONS: u32 = 100;

/// The choices of the filter by state.
const CHOICES: [(&str, &str, &[BuildState]); 5] = [
    ("", "All", &[]),
    (
        "live",
        "In progress",
        &[
            BuildState::Scheduled,
            BuildState::Running,
            BuildState::Failing,
            BuildState::Canceling,
        ],
    ),
    ("passed", "Passed", &[BuildState::Passed]),
    ("failed", "Failed", &[BuildState::Failed]),
    ("canceled", "Canceled", &[BuildState::Canceled]),
];

/// Which builds.
#[derive(Deserialize, Default)]
pub(super) struct Filter {
    #[serde(default)]
    state: String,
    before: Option<String>,
    after: Option<String>,
}

/// A choice of the filter.
struct Choice {
    label: &'static str,
    href: String,
    chosen: bool,
}

/// A build on a list.
struct Row {
    href: String,
    look: Look,
    number: i64,
    pipeline: String,
    pipeline_path: String,
    subject: String,
    branch: String,
    commit: String,
    trigger: String,
    created: Moment,
    duration: Option<String>,
    since: Option<String>,
}

/// Somewhere to go to.
struct Link {
    name: String,
    href: String,
}

#[derive(Template)]
#[template(path = "builds.html")]
struct BuildsPage {
    frame: Frame,
    heading: String,
    /// Where this page is within others.
    above: Vec<Link>,
    links: Vec<Link>,
    choices: Vec<Choice>,
    rows: Vec<Row>,
    with_pipeline: bool,
    /// Whether one of them will change by itself.
    live: bool,
    newest: Option<String>,
    older: Option<String>,
    filtered: bool,
    hint: String,
}

/// A pipeline on a list.
struct PipelineRow {
    name: String,
    href: String,
    description: Option<String>,
    repository: String,
    last: Vec<Row>,
}

#[derive(Template)]
#[template(path = "pipelines.html")]
struct PipelinesPage {
    frame: Frame,
    heading: String,
    rows: Vec<PipelineRow>,
    live: bool,
    newest: Option<String>,
    older: Option<String>,
    hint: String,
}

/// The names of what builds belong to.
struct Owners {
    orgs: HashMap<OrgId, Organization>,
    pipelines: HashMap<PipelineId, Pipeline>,
}

impl Owners {
    async fn of(dashboard: &Dashboard, builds: &[Build]) -> PageResult<Self> {
        let (mut orgs, mut pipelines) = (HashMap::new(), HashMap::new());
        let store = &dashboard.app.store;
        for build in builds {
            if !orgs.contains_key(&build.org)
                && let Some(org) = store.organization_by_id(build.org).await?
            {
                orgs.insert(build.org, org);
            }
            if !pipelines.contains_key(&build.pipeline)
                && let Some(pipeline) = store.pipeline_by_id(build.pipeline).await?
            {
                pipelines.insert(build.pipeline, pipeline);
            }
        }
        Ok(Self { orgs, pipelines })
    }

    /// Nothing for a build whose pipeline went away this moment.
    fn row(&self, build: &Build) -> Option<Row> {
        let org = self.orgs.get(&build.org)?;
        let pipeline = self.pipelines.get(&build.pipeline)?;
        let (duration, since) = took(build);
        let message = build.message.as_deref().unwrap_or_default().trim();
        Some(Row {
            href: build_path(&org.slug, &pipeline.slug, build.number),
            look: look::build(build.state),
            number: build.number,
            pipeline: format!("{}/{}", org.slug, pipeline.slug),
            pipeline_path: pipeline_path(&org.slug, &pipeline.slug),
            subject: clamped(message.lines().next().unwrap_or_default(), SUBJECT),
            branch: build.branch.clone(),
            commit: build.commit.chars().take(10).collect(),
            trigger: build.trigger.clone(),
            created: Moment::new(build.created_at, Utc::now()),
            duration,
            since: since.map(exact),
        })
    }

    fn rows(&self, builds: &[Build]) -> Vec<Row> {
        builds.iter().filter_map(|build| self.row(build)).collect()
    }
}

/// Where a list of builds is, and which one it is.
struct List {
    path: String,
    heading: String,
    above: Vec<Link>,
    links: Vec<Link>,
    org: Option<OrgId>,
    pipeline: Option<PipelineId>,
    hint: String,
}

/// `GET /`
pub(super) async fn all(
    State(dashboard): Ctx,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    filter: Result<Query<Filter>, QueryRejection>,
) -> PageResult {
    let user = caller.user_id()?;
    let orgs = dashboard
        .app
        .store
        .organizations_of(user, "", ORGANIZATIONS)
        .await?;
    let mine = orgs
        .iter()
        .filter(|org| caller.token.org.is_none_or(|only| only == org.id));
    let list = List {
        path: "/".to_owned(),
        heading: "Builds".to_owned(),
        above: Vec::new(),
        links: mine
            .map(|org| Link {
                name: org.name.clone(),
                href: org_path(&org.slug),
            })
            .collect(),
        org: caller.token.org,
        pipeline: None,
        hint: "Start one with `hm run --backend cloud`.".to_owned(),
    };
    builds(&dashboard, &caller, &headers, filter, list).await
}

/// `GET /{org}/{pipeline}`
pub(super) async fn pipeline(
    State(dashboard): Ctx,
    Extension(caller): Extension<Caller>,
    Extension(scope): Extension<Scope>,
    Path((_, slug)): Path<(String, String)>,
    headers: HeaderMap,
    filter: Result<Query<Filter>, QueryRejection>,
) -> PageResult {
    let pipeline = dashboard.app.store.pipeline(scope.org.id, &slug).await?;
    let pipeline = pipeline.ok_or_else(PageError::missing)?;
    let list = List {
        path: pipeline_path(&scope.org.slug, &pipeline.slug),
        above: vec![Link {
            name: scope.org.name.clone(),
            href: org_path(&scope.org.slug),
        }],
        links: Vec::new(),
        org: Some(scope.org.id),
        pipeline: Some(pipeline.id),
        hint: format!(
            "Start one with `hm run --backend cloud --cloud-pipeline {}`.",
            pipeline.slug
        ),
        heading: pipeline.name,
    };
    builds(&dashboard, &caller, &headers, filter, list).await
}

async fn builds(
    dashboard: &Dashboard,
    caller: &Caller,
    headers: &HeaderMap,
    filter: Result<Query<Filter>, QueryRejection>,
    list: List,
) -> PageResult {
    let filter = filter.map(|Query(filter)| filter).unwrap_or_default();
    let chosen = CHOICES.iter().find(|(name, ..)| *name == filter.state);
    let (name, _, states) = chosen.ok_or_else(PageError::missing)?;
    let before: Option<BuildId> = match &filter.before {
        None => None,
        Some(id) => Some(id.parse().map_err(|_| PageError::missing())?),
    };
    let wanted = RecentBuilds {
        user: caller.user_id()?,
        org: list.org,
        pipeline: list.pipeline,
        states: states.to_vec(),
        before,
        limit: PAGE + 1,
    };
    let mut builds = dashboard.app.store.recent_builds(&wanted).await?;
    let more = builds.len() > PAGE as usize;
    builds.truncate(PAGE as usize);
    let owners = Owners::of(dashboard, &builds).await?;
    let at = |state: &str, before: Option<&str>| {
        let state = (!state.is_empty()).then(|| format!("state={state}"));
        let before = before.map(|before| format!("before={before}"));
        let query: Vec<String> = state.into_iter().chain(before).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", list.path, query.join("&"))
    };
    let oldest = builds.last().filter(|_| more).map(|build| build.id.to_string());
    let template = BuildsPage {
        frame: Frame::new(
            list.heading.clone(),
            Some(caller.user(&dashboard.app).await?.email),
        ),
        choices: CHOICES
            .iter()
            .map(|(choice, label, _)| Choice {
                label,
                href: at(choice, None),
                chosen: choice == name,
            })
            .collect(),
        rows: owners.rows(&builds),
        with_pipeline: list.pipeline.is_none(),
        live: builds.iter().any(|build| !build.state.is_terminal()),
        newest: before.map(|_| at(name, None)),
        older: oldest.map(|oldest| at(name, Some(&oldest))),
        filtered: !name.is_empty() || before.is_some(),
        heading: list.heading,
        above: list.above,
        links: list.links,
        hint: list.hint,
    };
    Ok(unless_known(headers, page(StatusCode::OK, &template), &template))
}

/// `GET /{org}`
pub(super) async fn organization(
    State(dashboard): Ctx,
    Extension(caller): Extension<Caller>,
    Extension(scope): Extension<Scope>,
    headers: HeaderMap,
    filter: Result<Query<Filter>, QueryRejection>,
) -> PageResult {
    let filter = filter.map(|Query(filter)| filter).unwrap_or_default();
    let store = &dashboard.app.store;
    let after = filter.after.unwrap_or_default();
    let mut pipelines = store.pipelines(scope.org.id, &after, PIPELINES + 1).await?;
    let more = pipelines.len() > PIPELINES as usize;
    pipelines.truncate(PIPELINES as usize);
    let path = org_path(&scope.org.slug);
    let last = pipelines.last().filter(|_| more).map(|last| last.slug.clone());
    let (mut rows, mut live) = (Vec::new(), false);
    for pipeline in pipelines {
        let builds = store.builds(pipeline.id, i64::MAX, LAST).await?;
        live |= builds.iter().any(|build| !build.state.is_terminal());
        let owners = Owners {
            orgs: HashMap::from([(scope.org.id, scope.org.clone())]),
            pipelines: HashMap::from([(pipeline.id, pipeline.clone())]),
        };
        rows.push(PipelineRow {
            href: pipeline_path(&scope.org.slug, &pipeline.slug),
            name: pipeline.name,
            description: pipeline.description,
            repository: pipeline.repo_name.unwrap_or(pipeline.repository),
            last: owners.rows(&builds),
        });
    }
    let template = PipelinesPage {
        frame: Frame::new(
            scope.org.name.clone(),
            Some(caller.user(&dashboard.app).await?.email),
        ),
        heading: scope.org.name.clone(),
        rows,
        live,
        newest: (!after.is_empty()).then(|| path.clone()),
        older: last.map(|last| format!("{path}?after={}", encoded(&last))),
        hint: "`hm run --backend cloud` makes one, and so does `hm cloud pipeline create`.".to_owned(),
    };
    Ok(unless_known(&headers, page(StatusCode::OK, &template), &template))
}

/// An open page asks again and again; where nothing has changed it is told so.
fn unless_known(headers: &HeaderMap, response: Response, template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        return response;
    };
    let tag = format!("\"{}\"", blake3::hash(html.as_bytes()).to_hex());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        response
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}
