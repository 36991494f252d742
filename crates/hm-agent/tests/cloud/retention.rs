//! What a client is told of a build whose log and source are kept no longer.

use std::time::Duration;

use futures::StreamExt;
use harmont_client::HarmontError;
use hm_exec::RunOptions;
use hm_exec::cloud::follow;
use hm_exec::testing::{PlanWriter, StepWriter, play, request};
use hm_vm::testing::MemoryBackend;

use crate::support::{Cloud, ORG, PIPELINE};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_removed_log_is_told_so() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.agent("agent", &MemoryBackend::new());
    let backend = cloud.backend();
    let plan = PlanWriter::of([StepWriter::new("one", "echo said")]);
    let ask = request(plan.plan(), &cloud.worktree("app"), RunOptions::default());
    let played = play(&backend, ask, |_, _| {}).await.expect("it starts");
    played.outcome.expect("no failure");
    agent.drain().await;

    cloud
        .restart_with(|config| {
            config.keep.logs = Some(Duration::ZERO);
            config.keep.sources = Some(Duration::ZERO);
            config.keep.sweep = Duration::from_millis(20);
        })
        .await;
    let build = loop {
        let build = cloud.client.build(ORG, PIPELINE, 1).await.expect("a build");
        if build.log_removed_at.is_some() {
            break build;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(build.state.is_final());

    let gone = |error: &HarmontError| {
        matches!(error, HarmontError::Rejected { status: 410, code, message }
            if code == "log_removed" && message.contains("#1"))
    };
    let jobs = cloud.client.jobs(ORG, PIPELINE, 1).await.expect("they stay");
    let mut log = cloud.client.job_log(ORG, PIPELINE, 1, jobs[0].id);
    let told = log.next().await.expect("an answer").expect_err("there is no log");
    assert!(gone(&told), "{told}");
    let followed = follow(cloud.client.clone(), ORG, build, None).expect("it begins");
    let (events, control) = followed.into_parts();
    let events: Vec<_> = events.collect().await;
    let told = control.wait().await.expect_err("there is no log");
    assert!(
        told.to_string().contains("The log of build #1 was removed"),
        "{told}"
    );
    assert!(events.is_empty(), "{events:?}");
    let retried = cloud.client.retry_build(ORG, PIPELINE, 1).await;
    let told = retried.expect_err("there is no source");
    assert!(
        matches!(&told, HarmontError::Rejected { status: 410, code, .. } if code == "source_gone"),
        "{told}"
    );
    cloud.stop().await;
}
