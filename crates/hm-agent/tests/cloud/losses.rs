//! Agents and servers that go away in the middle of a build.

use hm_exec::testing::{PlanWriter, StepWriter, check_order, play, request};
use hm_exec::{BuildStatus, RunOptions};
use hm_plugin_protocol::events::{BuildEvent, StdStream};
use hm_vm::testing::MemoryBackend;

use crate::support::{Cloud, ORG, PIPELINE};

fn plan() -> PlanWriter {
    PlanWriter::of([
        StepWriter::new("first", "seq 5"),
        StepWriter::new("slow", "seq 3; sleep 2; echo later").builds_in("first"),
        StepWriter::new("last", "echo end").builds_in("slow"),
    ])
}

fn began_slowly(event: &BuildEvent) -> bool {
    matches!(event, BuildEvent::StepLog { line, .. } if line == "3")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_agent_is_killed_ends_once_on_another() {
    let mut cloud = Cloud::start().await;
    let first = MemoryBackend::new();
    let mut agent = Some(cloud.agent("first", &first));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let backend = cloud.backend();
    let ask = request(plan().plan(), &cloud.worktree("app"), RunOptions::default());
    let mut threes = 0;
    let watched = play(&backend, ask, |event, _| {
        threes += usize::from(began_slowly(event));
        // The second step has begun.
        if threes == 2 && began_slowly(event) {
            tell.send(()).expect("somebody listens");
        }
    });
    let replaced = async {
        told.recv().await.expect("it begins");
        agent.take().expect("it is there").kill().await;
        cloud.agent("second", &MemoryBackend::new())
    };
    let (played, second) = tokio::join!(watched, replaced);
    let played = played.expect("it starts");
    check_order(&played.events, &plan().plan().graph).expect("the order holds");
    assert_eq!(played.status().expect("no failure"), BuildStatus::Passed);
    assert_eq!(
        played.output("first", StdStream::Stdout),
        "1\n2\n3\n4\n5\n",
        "what was told is not told again"
    );
    let errors = played.output("slow", StdStream::Stderr);
    assert!(
        errors.contains("first"),
        "the log says which agent was lost: {errors:?}"
    );
    assert!(
        played
            .events
            .iter()
            .any(|event| matches!(event, BuildEvent::StepStart { attempt: Some(2), .. }))
    );
    let build = cloud
        .client
        .builds(ORG, PIPELINE, None, None)
        .await
        .expect("a list");
    assert_eq!(build.data.len(), 1);
    assert_eq!(build.data[0].state.to_string(), "passed");
    second.drain().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_in_the_middle_loses_and_doubles_no_line() {
    let mut cloud = Cloud::start().await;
    let vm = MemoryBackend::new();
    let agent = cloud.agent("agent", &vm);
    let backend = cloud.backend();
    let plan = PlanWriter::of([
        StepWriter::new("before", "seq 1000; sleep 1; seq 1000"),
        StepWriter::new("after", "sleep 1; seq 1000").builds_in("before"),
    ]);
    let ask = request(plan.plan(), &cloud.worktree("app"), RunOptions::default());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let watched = play(&backend, ask, |event, _| {
        if began_slowly(event) {
            tell.send(()).expect("somebody listens");
        }
    });
    let restarted = async {
        told.recv().await.expect("it begins");
        cloud.restart().await;
    };
    let (played, ()) = tokio::join!(watched, restarted);
    let played = played.expect("it starts");
    check_order(&played.events, &plan.plan().graph).expect("the order holds");
    assert_eq!(played.status().expect("no failure"), BuildStatus::Passed);
    let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(played.output("before", StdStream::Stdout), numbers.repeat(2));
    assert_eq!(played.output("after", StdStream::Stdout), numbers);
    assert_eq!(vm.counters().execs, 2, "nothing ran twice");
    agent.drain().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_stopped_gives_its_build_back_at_once() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.agent("first", &MemoryBackend::new());
    let backend = cloud.backend();
    let ask = request(plan().plan(), &cloud.worktree("app"), RunOptions::default());
    let stop = agent.stop.clone();
    let mut second = None;
    let played = play(&backend, ask, |event, _| {
        if second.is_none() && began_slowly(event) {
            stop.cancel();
            second = Some(cloud.agent("second", &MemoryBackend::new()));
        }
    });
    let played = played.await.expect("it starts");
    check_order(&played.events, &plan().plan().graph).expect("the order holds");
    assert_eq!(played.status().expect("no failure"), BuildStatus::Passed);
    agent.task.await.expect("no panic");
    second.expect("it was started").drain().await;
    cloud.stop().await;
}
