//! How a build is to run, from who submits it to the agent's backend.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use harmont_client::models::BuildState;
use hm_exec::testing::{PlanWriter, StepWriter, play, request};
use hm_exec::{
    BackendHandle, BuildStatus, Capabilities, ExecutionBackend, LocalBackend, Result, Resume, RunOptions,
    RunRequest,
};
use hm_plugin_protocol::events::{BuildEvent, RunHeader};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::testing::MemoryBackend;
use hm_vm::{ImageMap, ImageReference, Limits, Network, PlanPaths};

use crate::support::{Cloud, ORG, PIPELINE};

/// A backend that remembers how it was asked to run builds.
struct Remembering {
    inner: LocalBackend,
    asked: Arc<Mutex<Vec<RunOptions>>>,
}

#[async_trait]
impl ExecutionBackend for Remembering {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn start(&self, request: RunRequest) -> Result<BackendHandle> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.options.clone());
        self.inner.start(request).await
    }
}

fn steps(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

fn options() -> RunOptions {
    let mut images = ImageMap::default();
    images.insert(ImageReference::new("ubuntu:24.04"), ImageReference::new("host"));
    RunOptions {
        no_cache: true,
        timeout: Some(Duration::from_millis(90_500)),
        keep_going: true,
        parallelism: Some(steps(2)),
        from: Some("step \"ü\"".into()),
        images,
        limits: Limits {
            memory: Some(1 << 30),
            cpus: Some(1.5),
            pids: Some(500),
            disk: Some(2 << 30),
        },
        network: Network::None,
        artifact_bytes: 5000,
        resume: Some(Resume {
            done: BTreeMap::from([("base".to_owned(), SnapshotRef("memory-1-1".into()))]),
        }),
        ..RunOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_comes_to_the_agent_as_it_was_said() {
    let mut cloud = Cloud::start().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let backend = Remembering {
        inner: cloud.agents_backend("agent", &MemoryBackend::new()),
        asked: Arc::clone(&asked),
    };
    let agent = cloud.agent_over(&cloud.base, "agent", Arc::new(backend));
    let worktree = cloud.worktree("app");
    let plan = PlanWriter::of([
        StepWriter::new("base", "true"),
        StepWriter::new("step \"ü\"", "true").builds_in("base"),
    ]);
    let only = RunOptions {
        only: Some("base".into()),
        ..RunOptions::default()
    };
    for options in [RunOptions::default(), options(), only] {
        let ask = request(plan.plan(), &worktree, options.clone());
        play(&cloud.backend(), ask, |_, _| {}).await.expect("it starts");
        let seen = asked.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // On an agent a plan names no path at all.
        let given = RunOptions {
            image_paths: PlanPaths::Never,
            ..options
        };
        assert_eq!(seen, Some(given));
    }
    agent.drain().await;
    cloud.stop().await;
}

fn header(events: &[BuildEvent]) -> &RunHeader {
    match &events[0] {
        BuildEvent::BuildStart {
            header: Some(header), ..
        } => header,
        other => std::panic::panic_any(format!("{other:?} comes first")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_runs_no_more_steps_at_once_than_it_may_and_says_how_many() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.agent("agent", &MemoryBackend::new());
    let worktree = cloud.worktree("app");
    let plan = PlanWriter::of([StepWriter::new("one", "true")]);
    for (asked, given) in [(None, 4), (Some(steps(3)), 3), (Some(steps(64)), 4)] {
        let options = RunOptions {
            parallelism: asked,
            ..RunOptions::default()
        };
        let ask = request(plan.plan(), &worktree, options);
        let played = play(&cloud.backend(), ask, |_, _| {}).await.expect("it starts");
        assert_eq!(played.status().ok(), Some(BuildStatus::Passed));
        let header = header(&played.events);
        assert_eq!(header.parallelism, Some(given));
        assert_eq!(header.backend.as_deref(), Some("cloud"));
        assert_eq!(header.images.len(), 1, "{header:?}");
    }
    agent.drain().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_this_machine_is_not_sent_for() {
    let mut cloud = Cloud::start().await;
    let worktree = cloud.worktree("app");
    let mut images = ImageMap::default();
    images.insert(ImageReference::new("ubuntu"), ImageReference::new("/srv/rootfs"));
    let options = RunOptions {
        images,
        ..RunOptions::default()
    };
    let plan = PlanWriter::of([StepWriter::new("one", "true")]);
    let refused = cloud
        .backend()
        .start(request(plan.plan(), &worktree, options))
        .await;
    let words = refused.map(|_| ()).expect_err("it is refused").to_string();
    assert!(
        words.contains("/srv/rootfs") && words.contains("registry"),
        "{words}"
    );
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_no_agent_has_begun_is_canceled_and_told_whole() {
    let mut cloud = Cloud::start().await;
    let worktree = cloud.worktree("app");
    let plan = PlanWriter::of([StepWriter::new("one", "true")]);
    let ask = request(plan.plan(), &worktree, RunOptions::default());
    let handle = cloud.backend().start(ask).await.expect("it starts");
    let (events, control) = handle.into_parts();
    control.cancel();
    let kinds: Vec<_> = events
        .map(|event| serde_json::to_value(event).expect("JSON")["kind"].clone())
        .collect()
        .await;
    assert_eq!(
        kinds,
        [
            "build_start",
            "build_accepted",
            "step_queued",
            "step_end",
            "build_end"
        ]
    );
    let outcome = control.wait().await.expect("no infrastructure failure");
    assert_eq!(outcome.status, BuildStatus::Canceled);
    let build = cloud.client.build(ORG, PIPELINE, 1).await.expect("a build");
    assert_eq!(build.state, BuildState::Canceled);
    cloud.stop().await;
}
