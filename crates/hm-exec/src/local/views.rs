//! The source as each step sees it: with `.git` where it asks for that, without it elsewhere.

use std::sync::Arc;

use hm_pipeline_ir::StepIndex;
use hm_source::Source;

use crate::RunRequest;

/// One frozen source in its two views.
#[derive(Debug)]
pub(super) struct Views {
    plain: View,
    git: Option<View>,
    /// Which steps see `.git`.
    sees_git: Vec<bool>,
}

/// One view, and what stands for it in keys.
#[derive(Debug)]
struct View {
    source: Arc<Source>,
    digest: String,
}

impl View {
    fn new(source: Source, is_in_keys: bool) -> Self {
        let digest = if is_in_keys {
            source.digest()
        } else {
            String::new()
        };
        Self {
            source: Arc::new(source),
            digest,
        }
    }
}

impl Views {
    /// A step sees `.git` when it asks for it, when the whole run does, or when it builds in a step that sees it: what
    /// git wrote there would be half a repository without the rest.
    pub(super) fn new(source: Source, request: &RunRequest, is_in_keys: bool) -> Self {
        let graph = &request.plan.graph;
        let mut sees_git = vec![false; graph.len()];
        for index in graph.topological() {
            let inherits = graph
                .parent(*index)
                .is_some_and(|parent| sees_git[parent.as_usize()]);
            sees_git[index.as_usize()] = request.options.include_git || graph.step(*index).git || inherits;
        }
        Self {
            plain: View::new(source.without_git(), is_in_keys),
            git: source.has_git().then(|| View::new(source, is_in_keys)),
            sees_git,
        }
    }

    /// Whether a step sees `.git`.
    pub(super) fn has_git(&self, step: StepIndex) -> bool {
        self.sees_git.get(step.as_usize()).copied().unwrap_or(false)
    }

    fn view(&self, step: StepIndex) -> &View {
        match &self.git {
            Some(git) if self.has_git(step) => git,
            _ => &self.plain,
        }
    }

    /// What a step sees.
    pub(super) fn of(&self, step: StepIndex) -> &Arc<Source> {
        &self.view(step).source
    }

    /// What stands for that in the step's key.
    pub(super) fn digest(&self, step: StepIndex) -> &str {
        &self.view(step).digest
    }

    /// The files of the worktree alone.
    pub(super) const fn plain(&self) -> &Arc<Source> {
        &self.plain.source
    }

    /// All that any step sees.
    pub(super) fn whole(&self) -> &Arc<Source> {
        &self.git.as_ref().unwrap_or(&self.plain).source
    }
}
