//! What the contract is tried on.

use std::path::PathBuf;
use std::sync::Arc;

use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};

use crate::testing::{PlanWriter, Played, check_order, play, request};
use crate::{BuildStatus, Capabilities, Control, ExecutionBackend, RunOptions, RunRequest, StepStatus};

/// A backend under test and a worktree that its builds are of.
pub struct Subject {
    /// The backend.
    pub backend: Arc<dyn ExecutionBackend>,
    /// An empty directory that belongs to the test.
    pub worktree: PathBuf,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.backend.name();
        f.debug_struct("Subject")
            .field("backend", &name)
            .field("worktree", &self.worktree)
            .finish()
    }
}

impl Subject {
    /// A backend, and an empty worktree that its caller removes.
    pub fn new(backend: Arc<dyn ExecutionBackend>, worktree: impl Into<PathBuf>) -> Self {
        Self {
            backend,
            worktree: worktree.into(),
        }
    }

    pub(super) fn can(&self) -> Capabilities {
        self.backend.capabilities()
    }

    pub(super) fn request(&self, plan: &PlanWriter, options: RunOptions) -> RunRequest {
        request(plan.plan(), &self.worktree, options)
    }

    /// Runs a plan to its end, and checks what holds for every build.
    pub(super) async fn run(&self, plan: &PlanWriter, options: RunOptions) -> Played {
        self.run_while(plan, options, |_, _| {}).await
    }

    pub(super) async fn run_while(
        &self,
        plan: &PlanWriter,
        options: RunOptions,
        seen: impl FnMut(&BuildEvent, &Control),
    ) -> Played {
        let played = play(self.backend.as_ref(), self.request(plan, options), seen)
            .await
            .expect("it starts");
        agrees(&played, plan);
        played
    }

    /// Runs a plan that passes.
    pub(super) async fn passes(&self, plan: &PlanWriter) -> Played {
        let played = self.run(plan, RunOptions::default()).await;
        assert_eq!(status(&played), BuildStatus::Passed, "{:?}", played.events);
        played
    }
}

pub(super) fn status(played: &Played) -> BuildStatus {
    played.status().expect("no infrastructure failure")
}

/// The events keep their order, and the outcome says what they said.
fn agrees(played: &Played, plan: &PlanWriter) {
    let graph = plan.plan().graph;
    if let Err(broken) = check_order(&played.events, &graph) {
        std::panic::panic_any(format!("{broken}\n{:#?}", played.events));
    }
    let outcome = played.outcome.as_ref().expect("no infrastructure failure");
    assert!(
        matches!(played.events.last(), Some(BuildEvent::BuildEnd { exit_code, .. })
            if *exit_code == outcome.status.exit_code()),
        "build_end does not project {:?}",
        outcome.status
    );
    assert!(
        matches!(&played.events[1], BuildEvent::BuildAccepted { build, .. } if *build == outcome.build),
        "build_accepted names another build"
    );
    let keys: Vec<&str> = graph.steps().map(|(_, step)| step.key.as_str()).collect();
    let told: Vec<&str> = outcome.steps.iter().map(|step| step.key.as_str()).collect();
    assert_eq!(told, keys, "the outcome has every step in the plan's order");
    for step in &outcome.steps {
        assert_eq!(
            Some(step.step_id),
            played.id(&step.key),
            "`{}` has one id",
            step.key
        );
        let hit = played.events.iter().any(
            |event| matches!(event, BuildEvent::StepCacheHit { step_id, .. } if *step_id == step.step_id),
        );
        let expected: &[StepStatus] = match played.end(&step.key) {
            Some((_, Some(StepEndStatus::Passed | StepEndStatus::SoftFailed), _)) => &[StepStatus::Passed],
            Some((_, Some(StepEndStatus::Canceled), _)) => &[StepStatus::Canceled],
            Some((_, Some(StepEndStatus::TimedOut), _)) => &[StepStatus::TimedOut],
            Some(_) => &[StepStatus::Failed],
            None if hit => &[StepStatus::CacheHit],
            None => &[StepStatus::Skipped, StepStatus::Canceled],
        };
        assert!(
            expected.contains(&step.status),
            "`{}`: {:?}, not {expected:?}",
            step.key,
            step.status
        );
        if let Some((code, ..)) = played.end(&step.key) {
            assert_eq!(step.exit_code, Some(code), "`{}` has one exit code", step.key);
        }
    }
    assert!(outcome.started_at <= outcome.finished_at);
}
