//! Artifacts: what is collected, when, and that a cache hit lists it again.

use hm_exec::local::{Artifact, ArtifactStore};
use hm_exec::testing::{PlanWriter, Played, StepWriter, check_order};
use hm_exec::{BuildStatus, Plan, RunOptions, StepStatus};
use hm_plugin_protocol::events::BuildEvent;
use serde_json::{Value, json};

use crate::support::Bench;

fn keeping(key: &str, cmd: &str, artifacts: Value) -> StepWriter {
    StepWriter::new(key, cmd).with("artifacts", artifacts)
}

async fn run(bench: &Bench, plan: &Plan, options: RunOptions) -> (Played, Vec<Artifact>) {
    let request = bench.request(plan.clone(), options);
    let id = request.run_id;
    let played = hm_exec::testing::play(&bench.backend, request, |_, _| {})
        .await
        .expect("the build starts");
    check_order(&played.events, &plan.graph).expect("the order holds");
    let listed = ArtifactStore::new(&bench.data()).of_run(id).expect("a list");
    assert_eq!(
        told(&played),
        listed.iter().map(|found| found.path.clone()).collect::<Vec<_>>()
    );
    (played, listed)
}

/// The paths that the run's events tell of.
fn told(played: &Played) -> Vec<String> {
    let listed = played.events.iter().filter_map(|event| match event {
        BuildEvent::StepEnd { artifacts, .. } | BuildEvent::StepCacheHit { artifacts, .. } => Some(artifacts),
        _ => None,
    });
    listed.flatten().map(|artifact| artifact.path.clone()).collect()
}

fn paths(artifacts: &[Artifact]) -> Vec<&str> {
    artifacts.iter().map(|artifact| artifact.path.as_str()).collect()
}

const ALL: &str = r#"[{"paths": ["log"]}, {"paths": ["ok"], "when": "passed"}, {"paths": ["bad", "log"], "when": "failed"}]"#;

#[tokio::test(start_paused = true)]
async fn they_are_collected_by_how_the_step_ended() {
    let bench = Bench::new();
    let all: Value = serde_json::from_str(ALL).expect("JSON");
    let write = "echo log > log; echo ok > ok; echo bad > bad";
    let plan = |end: &str| PlanWriter::of([keeping("one", &format!("{write}; {end}"), all.clone())]).plan();
    let (_, listed) = run(&bench, &plan("true"), RunOptions::default()).await;
    assert_eq!(paths(&listed), ["log", "ok"]);
    assert_eq!((listed[0].step.as_str(), listed[0].bytes), ("one", 4));
    assert_eq!(listed[0].digest, blake3::hash(b"log\n").to_hex().as_str());
    let (played, listed) = run(&bench, &plan("exit 3"), RunOptions::default()).await;
    assert_eq!(played.end("one").expect("it ended").0, 3);
    // A file that two entries name is one artifact.
    assert_eq!(paths(&listed), ["log", "bad"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_last_attempt_leaves_any() {
    let bench = Bench::new();
    let step = keeping(
        "one",
        "echo try >> log; hm-flaky one 1",
        json!([{"paths": ["log"]}]),
    )
    .with("retries", 2);
    let (played, listed) = run(&bench, &PlanWriter::of([step]).plan(), RunOptions::default()).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
    assert_eq!((paths(&listed), listed[0].bytes), (vec!["log"], 4));
}

#[tokio::test(start_paused = true)]
async fn a_cache_hit_lists_them_again_under_its_own_key() {
    let bench = Bench::new();
    let plan = |key: &str| {
        let step = keeping(key, "echo one > one", json!([{"paths": ["*"]}])).cached("forever");
        PlanWriter::of([
            step,
            StepWriter::new("child", "true").builds_in(key).cached("forever"),
        ])
        .plan()
    };
    let (_, first) = run(&bench, &plan("one"), RunOptions::default()).await;
    let (played, again) = run(&bench, &plan("two"), RunOptions::default()).await;
    assert_eq!(played.steps()["two"], StepStatus::CacheHit);
    assert_eq!(
        (again[0].step.as_str(), &again[0].digest),
        ("two", &first[0].digest)
    );
    let digest = &first[0].digest;
    let content = bench
        .data()
        .join("artifacts/files")
        .join(&digest[..2])
        .join(digest);
    std::fs::remove_file(&content).expect("removed");
    let (played, listed) = run(&bench, &plan("one"), RunOptions::default()).await;
    assert_eq!(played.miss("one"), Some("its artifact one is gone"));
    assert_eq!(paths(&listed), ["one"]);
    assert!(content.exists());
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_too_much_is_told_and_no_failure() {
    let bench = Bench::new();
    let step = keeping(
        "one",
        "echo 12345678 > a; echo 12345678 > b; echo 1 > c",
        json!([{"paths": ["a", "b", "c", "report/*.xml"]}]),
    );
    let options = RunOptions {
        artifact_bytes: 12,
        ..RunOptions::default()
    };
    let (played, listed) = run(&bench, &PlanWriter::of([step]).plan(), options).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
    assert_eq!(paths(&listed), ["a", "c"]);
    let (_, _, message) = played.end("one").expect("it ended");
    let message = message.expect("a message");
    assert!(
        message.contains("no file for its artifacts `report/*.xml`"),
        "{message}"
    );
    assert!(message.contains("left out of its artifacts: b ("), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_report_among_them_is_summed_up() {
    let bench = Bench::new();
    std::fs::write(
        bench.tree().join("unit.xml"),
        r#"<testsuite><testcase name="good"/><testcase name="bad"><failure/></testcase></testsuite>"#,
    )
    .expect("written");
    let step = keeping("one", "true", json!([{"paths": ["unit.xml"]}]));
    let (_, listed) = run(&bench, &PlanWriter::of([step]).plan(), RunOptions::default()).await;
    let tests = listed[0].tests.as_ref().expect("a report");
    assert_eq!(
        (tests.total, tests.failed, &tests.failures[..]),
        (2, 1, &["bad".to_owned()][..])
    );
}

#[tokio::test(start_paused = true)]
async fn a_canceled_step_leaves_none() {
    let bench = Bench::new();
    let slow = keeping("slow", "echo log > log; sleep 60", json!([{"paths": ["log"]}]));
    let plan = PlanWriter::of([slow, StepWriter::new("bad", "sleep 1; false")]).plan();
    let (played, listed) = run(&bench, &plan, RunOptions::default()).await;
    assert_eq!(played.steps()["slow"], StepStatus::Canceled);
    assert!(listed.is_empty());
    let late = RunOptions {
        timeout: Some(std::time::Duration::from_secs(1)),
        ..RunOptions::default()
    };
    let slow = keeping("slow", "echo log > log; sleep 60", json!([{"paths": ["log"]}]));
    let (played, listed) = run(&bench, &PlanWriter::of([slow]).plan(), late).await;
    assert_eq!(played.steps()["slow"], StepStatus::TimedOut);
    assert_eq!(paths(&listed), ["log"]);
}
