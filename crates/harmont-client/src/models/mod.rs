//! What the API's bodies hold, by the names of its OpenAPI document.

mod account;
mod build;
mod options;
mod organization;

pub use account::{ApiToken, CreatedApiToken, CurrentUser, NewApiToken};
pub use build::{Build, BuildState, Job, JobState, LogToken, NewBuild, NewRepoBuild};
pub use options::{BuildOptions, StepLimits, StepNetwork};
pub use organization::{Invite, Member, NewOrganization, NewPipeline, Organization, Pipeline, Role};

use serde::Deserialize;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page<T> {
    /// What is on this page.
    pub data: Vec<T>,
    /// What to ask for the next page with; `None` on the last one.
    #[serde(default)]
    pub next_cursor: Option<String>,
}
