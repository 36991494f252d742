//! The worktree as it stands when a run begins.

use std::sync::Arc;

use hm_source::{Source, SourceOptions, SourceStore};
use hm_vm::VmError;

use crate::{BackendError, Result, RunRequest};

/// Whether the options or any step ask for `.git`.
fn takes_git(request: &RunRequest) -> bool {
    request.options.include_git || request.plan.graph.steps().any(|(_, step)| step.git)
}

/// Freezes a request's worktree, with `.git` where anything of it asks for that.
pub(crate) async fn freeze(sources: &Arc<SourceStore>, request: &RunRequest) -> Result<Source> {
    let (sources, root) = (Arc::clone(sources), request.repo_root.clone());
    let options = SourceOptions {
        include_git: takes_git(request),
    };
    let frozen = tokio::task::spawn_blocking(move || sources.freeze(&root, &options)).await;
    let frozen =
        frozen.map_err(|error| BackendError::Other(format!("cannot freeze the worktree: {error}")))?;
    Ok(frozen.map_err(VmError::from)?)
}
