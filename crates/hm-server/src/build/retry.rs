//! Running a build again: the same plan, source, variables and options as a new build, with a number of its own.
//!
//! A build can be retried at any time, as in Buildkite: what still runs goes on beside the new build, and whoever
//! does not want that cancels it.

use crate::BuildId;
use crate::blobs::BlobName;
use crate::build::submit::PLAN_REJECTED;
use crate::build::{Fault, Submission, SubmitError};
use crate::model::{Build, Pipeline, SourceArchive};
use crate::state::App;

/// What a retried build's trigger is.
const RETRY: &str = "retry";

/// Why there is no build to retry with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetryError {
    /// It would be refused again.
    #[error(
        "Build #{0} cannot be retried: its plan was refused, and would be again; mend the plan and submit a new build"
    )]
    PlanRefused(i64),
    /// It is too long ago.
    #[error(
        "Build #{0} cannot be retried: the server no longer has its source; submit it anew with `hm run --backend cloud`"
    )]
    SourceGone(i64),
    /// The pipeline is built by others.
    #[error("Pipeline `{0}` is not built by hand")]
    ManualDisabled(String),
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl<T> From<T> for RetryError
where
    Fault: From<T>,
{
    fn from(error: T) -> Self {
        Self::Submit(SubmitError::Fault(error.into()))
    }
}

impl App {
    /// Runs a build again, as a new one.
    pub(crate) async fn retry(&self, pipeline: &Pipeline, build: &Build) -> Result<Build, RetryError> {
        if !pipeline.allow_manual {
            return Err(RetryError::ManualDisabled(pipeline.slug.clone()));
        }
        if build.error_code.as_deref() == Some(PLAN_REJECTED) {
            return Err(RetryError::PlanRefused(build.number));
        }
        let Some(plan) = self.store.plan(build.id).await? else {
            return Err(RetryError::SourceGone(build.number));
        };
        let id = BuildId::new();
        let source = BlobName::source(id);
        if let SourceArchive::Uploaded { .. } = build.archive
            && !self.blobs.copy(&BlobName::source(build.id), &source).await?
        {
            return Err(RetryError::SourceGone(build.number));
        }
        let submission = Submission {
            id,
            branch: build.branch.clone(),
            commit: build.commit.clone(),
            message: build.message.clone(),
            trigger: RETRY.to_owned(),
            env: build.env.clone(),
            options: build.options.clone(),
            archive: build.archive.clone(),
            plan,
            note: Some(format!("This build is a retry of build #{}.", build.number)),
        };
        match self.submit(pipeline, submission).await {
            Ok(build) => Ok(build),
            Err(error) => {
                self.blobs.remove(&source).await?;
                Err(error.into())
            }
        }
    }
}
