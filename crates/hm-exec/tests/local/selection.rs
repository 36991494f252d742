//! `--only`, `--from`, and taking over from an earlier run.

use hm_exec::testing::{PlanWriter, StepWriter, check_order};
use hm_exec::{BuildStatus, Resume, RunOptions, StepStatus};

use crate::support::{Bench, stdout};

fn plan() -> PlanWriter {
    PlanWriter::of([
        StepWriter::new("root", "echo root > root").cached("forever"),
        StepWriter::new("build", "echo built > built").builds_in("root"),
        StepWriter::new("test", "cat root; cat built").builds_in("build"),
        StepWriter::new("lint", "true").builds_in("root"),
        StepWriter::new("report", "true").builds_in("test").after("lint"),
    ])
}

fn only(step: &str) -> RunOptions {
    RunOptions {
        only: Some(step.into()),
        ..RunOptions::default()
    }
}

fn from(step: &str) -> RunOptions {
    RunOptions {
        from: Some(step.into()),
        ..RunOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn only_runs_what_the_step_builds_in_and_nothing_else() {
    let bench = Bench::new();
    let played = bench.play(plan().plan(), only("test")).await;
    check_order(&played.events, &plan().plan().graph).expect("the order holds");
    assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
    assert_eq!(stdout(&played, "test"), "root\nbuilt\n");
    assert_eq!(played.skipped("lint"), Some("only `test` was asked for"));
    assert_eq!(played.steps()["report"], StepStatus::Skipped);
    let again = bench.play(plan().plan(), only("test")).await;
    assert_eq!(again.steps()["root"], StepStatus::CacheHit);
    assert_eq!(
        again.steps()["build"],
        StepStatus::Passed,
        "nothing says where its snapshot is"
    );
}

#[tokio::test(start_paused = true)]
async fn from_runs_the_step_cached_or_not_and_all_after_it() {
    let bench = Bench::new();
    bench.play(plan().plan(), RunOptions::default()).await;
    let played = bench.play(plan().plan(), from("root")).await;
    check_order(&played.events, &plan().plan().graph).expect("the order holds");
    assert!(
        played
            .steps()
            .values()
            .all(|status| *status == StepStatus::Passed)
    );
    let played = bench.play(plan().plan(), from("lint")).await;
    check_order(&played.events, &plan().plan().graph).expect("the order holds");
    assert_eq!(played.steps()["root"], StepStatus::CacheHit);
    assert_eq!(played.steps()["lint"], StepStatus::Passed);
    assert_eq!(
        played.steps()["report"],
        StepStatus::Passed,
        "it comes after lint"
    );
    assert_eq!(
        played.steps()["build"],
        StepStatus::Passed,
        "report builds in test, and test in it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_takes_over_the_snapshots_of_an_earlier_one() {
    let bench = Bench::new();
    let first = bench
        .play(plan().plan(), RunOptions::default())
        .await
        .outcome
        .expect("it ended");
    let done = ["root", "build"].into_iter().map(|key| {
        let step = first
            .steps
            .iter()
            .find(|step| step.key == key)
            .expect("in the plan");
        (key.to_owned(), step.snapshot.clone().expect("a snapshot"))
    });
    let resume = Some(Resume { done: done.collect() });
    let before = bench.vm.counters();
    let options = RunOptions {
        resume: resume.clone(),
        ..from("test")
    };
    let played = bench.play(plan().plan(), options).await;
    check_order(&played.events, &plan().plan().graph).expect("the order holds");
    assert_eq!(stdout(&played, "test"), "root\nbuilt\n");
    assert_eq!(played.steps()["build"], StepStatus::CacheHit);
    assert_eq!(bench.vm.counters().execs, before.execs + 2, "test and report");
    let options = RunOptions {
        resume,
        ..RunOptions::default()
    };
    let played = bench.play(plan().plan(), options).await;
    assert_eq!(played.steps()["build"], StepStatus::CacheHit, "it counts as done");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_gone_is_run_again() {
    let bench = Bench::new();
    let gone = hm_plugin_protocol::executor::SnapshotRef("memory-0-0".into());
    let options = RunOptions {
        resume: Some(Resume {
            done: [("build".to_owned(), gone)].into(),
        }),
        ..only("test")
    };
    let played = bench.play(plan().plan(), options).await;
    assert_eq!(stdout(&played, "test"), "root\nbuilt\n");
}

#[tokio::test(start_paused = true)]
async fn only_runs_a_step_whose_children_take_no_part() {
    let bench = Bench::new();
    let played = bench.play(plan().plan(), only("root")).await;
    assert_eq!(played.steps()["root"], StepStatus::Passed);
    let again = bench.play(plan().plan(), only("root")).await;
    assert_eq!(again.steps()["root"], StepStatus::CacheHit);
    assert_eq!(bench.vm.counters().execs, 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_left_never_becomes_what_todays_source_gives() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("build", "cat src > built").cached("auto"),
        StepWriter::new("test", "cat built")
            .builds_in("build")
            .cached("auto"),
    ]);
    std::fs::write(bench.tree().join("src"), "old").expect("written");
    let first = bench.play(plan.plan(), RunOptions::default()).await;
    let build = first.outcome.as_ref().expect("it ended").steps[0]
        .snapshot
        .clone();
    let options = RunOptions {
        resume: Some(Resume {
            done: [("build".to_owned(), build.expect("a snapshot"))].into(),
        }),
        ..from("test")
    };
    std::fs::write(bench.tree().join("src"), "newer").expect("written");
    let rerun = bench.play(plan.plan(), options).await;
    assert_eq!(rerun.steps()["build"], StepStatus::CacheHit);
    assert_eq!(rerun.steps()["test"], StepStatus::Passed);
    // The source that the test passed with is not the one that was built.
    let fresh = bench.play(plan.plan(), RunOptions::default()).await;
    assert_eq!(fresh.steps()["build"], StepStatus::Passed);
    assert_eq!(
        fresh.steps()["test"],
        StepStatus::Passed,
        "it has not passed on today's build"
    );
}
