//! The cloud keeps the contract of execution backends, and tells what a local run tells.

use std::num::NonZeroUsize;
use std::sync::Arc;

use hm_exec::testing::contract::{Subject, run_all};
use hm_exec::testing::{PlanWriter, Played, StepWriter, play, request};
use hm_exec::{LocalBackend, RunOptions};
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use hm_vm::testing::MemoryBackend;

use crate::support::Cloud;

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_keeps_the_contract() {
    let mut cloud = Cloud::start().await;
    let vm = MemoryBackend::new();
    let agent = cloud.agent("agent", &vm);
    let mut number = 0;
    run_all(async || {
        number += 1;
        Subject::new(Arc::new(cloud.backend()), cloud.worktree(&number.to_string()))
    })
    .await;
    agent.drain().await;
    cloud.stop().await;
    assert_eq!(vm.counters().live, 0);
    let left = std::fs::read_dir(cloud.dirs.path().join("agent/builds")).expect("a directory");
    assert_eq!(left.count(), 0, "no source stays on the agent");
}

/// Everything but times and identity: kinds, keys and texts.
fn essence(played: &Played) -> Vec<String> {
    let steps: Vec<(uuid::Uuid, &str)> = played
        .events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::StepQueued { step_id, key, .. } => Some((*step_id, key.as_str())),
            _ => None,
        })
        .collect();
    let key = |id| {
        steps
            .iter()
            .find(|(step, _)| *step == id)
            .map_or("?", |(_, key)| key)
    };
    let told = played.events.iter().map(|event| match event {
        BuildEvent::BuildStart { plan, header, .. } => {
            let header = header.clone().unwrap_or_default();
            format!("start {plan:?} {:?} {:?}", header.default_image, header.images)
        }
        BuildEvent::BuildAccepted { build, .. } => format!("accepted {}", build.pipeline),
        BuildEvent::StepQueued {
            key,
            chain_idx,
            parent_key,
            display_name,
            command,
            ..
        } => format!("queued {key} {chain_idx} {parent_key:?} {display_name} {command:?}"),
        BuildEvent::StepStart {
            step_id,
            runner,
            image,
            cache_miss,
            attempt,
            previous_exit_code,
        } => format!(
            "started {} {runner} {image:?} {cache_miss:?} {attempt:?} {previous_exit_code:?}",
            key(*step_id)
        ),
        BuildEvent::StepLog {
            step_id,
            stream,
            line,
            partial,
            ..
        } => format!("{} {stream:?} {line:?} {partial}", key(*step_id)),
        BuildEvent::StepEnd {
            step_id,
            exit_code,
            status,
            message,
            ..
        } => format!("ended {} {exit_code} {status:?} {message:?}", key(*step_id)),
        BuildEvent::ChainFailed {
            chain_idx,
            failed_step_key,
            exit_code,
            message,
            ..
        } => format!("cut {chain_idx} {failed_step_key} {exit_code} {message}"),
        BuildEvent::BuildEnd { exit_code, .. } => format!("end {exit_code}"),
        other => format!("{other:?}"),
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_a_local_run_tells() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.agent("agent", &MemoryBackend::new());
    let worktree = cloud.worktree("app");
    std::fs::write(worktree.join("a.txt"), "text\n").expect("a file");
    for (number, last) in ["echo fine", "echo bad >&2; exit 4"].into_iter().enumerate() {
        let plan = PlanWriter::of([
            StepWriter::new("build", "cat a.txt > out"),
            StepWriter::new("test", "cat out; printf 'no newline'").builds_in("build"),
            StepWriter::new("flaky", format!("hm-flaky once-{number} 1"))
                .with("retries", 1)
                .after("test"),
            StepWriter::new("last", last).after("flaky"),
            StepWriter::new("after", "true").after("last"),
        ]);
        let data = cloud.dirs.path().join("local");
        let local = LocalBackend::new(NonZeroUsize::MIN, Arc::new(MemoryBackend::new()), data);
        let ask = || request(plan.plan(), &worktree, RunOptions::default());
        let here = play(&local, ask(), |_, _| {}).await.expect("it starts");
        let there = play(&cloud.backend(), ask(), |_, _| {}).await.expect("it starts");
        assert_eq!(essence(&there), essence(&here));
        assert_eq!(there.output("test", StdStream::Stdout), "text\nno newline\n");
        let outcome = there.outcome.expect("no infrastructure failure");
        assert!(
            outcome
                .watch_url
                .is_some_and(|url| url.starts_with("https://ci.example/acme/ci/builds/"))
        );
    }
    agent.drain().await;
    cloud.stop().await;
}
