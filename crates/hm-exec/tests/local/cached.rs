//! Cache hits, and why there was none.

use hm_exec::testing::{PlanWriter, Played, StepWriter, check_order};
use hm_exec::{BuildStatus, RunOptions, StepStatus};
use hm_vm::VmBackend;

use crate::support::{Bench, stdout};

fn chain() -> PlanWriter {
    PlanWriter::of([
        StepWriter::new("deps", "echo deps > deps").cached("forever"),
        StepWriter::new("build", "cat a.txt > built")
            .builds_in("deps")
            .cached("auto"),
        StepWriter::new("test", "cat deps; cat built")
            .builds_in("build")
            .cached("auto"),
    ])
}

async fn run(bench: &Bench, plan: &PlanWriter) -> Played {
    let plan = plan.plan();
    let played = bench.play(plan.clone(), RunOptions::default()).await;
    check_order(&played.events, &plan.graph).expect("the order holds");
    assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
    played
}

#[tokio::test(start_paused = true)]
async fn a_second_run_is_all_hits_and_touches_no_machine() {
    let bench = Bench::new();
    std::fs::write(bench.tree().join("a.txt"), "a\n").expect("written");
    let first = run(&bench, &chain()).await;
    assert_eq!(first.miss("deps"), Some("no earlier pass is known"));
    let before = bench.vm.counters();
    let second = run(&bench, &chain()).await;
    assert!(
        second
            .steps()
            .values()
            .all(|status| *status == StepStatus::CacheHit)
    );
    let after = bench.vm.counters();
    assert_eq!(
        (after.created, after.restored, after.prepared),
        (before.created, before.restored, before.prepared)
    );
    assert_eq!(after.snapshots, before.snapshots);
}

#[tokio::test(start_paused = true)]
async fn an_edit_runs_only_what_depends_on_it_above_its_cached_parent() {
    let bench = Bench::new();
    std::fs::write(bench.tree().join("a.txt"), "a\n").expect("written");
    run(&bench, &chain()).await;
    std::fs::write(bench.tree().join("a.txt"), "b\n").expect("written");
    let before = bench.vm.counters();
    let second = run(&bench, &chain()).await;
    assert_eq!(second.steps()["deps"], StepStatus::CacheHit);
    assert_eq!(second.miss("build"), Some("source changed: a.txt"));
    assert_eq!(stdout(&second, "test"), "deps\nb\n");
    let after = bench.vm.counters();
    assert_eq!(
        (after.created - before.created, after.restored - before.restored),
        (0, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_miss_says_why() {
    let bench = Bench::new();
    let step = |cmd: &str| PlanWriter::of([StepWriter::new("one", cmd).cached("forever")]);
    run(&bench, &step("echo 1")).await;
    assert_eq!(
        run(&bench, &step("echo 2")).await.miss("one"),
        Some("command changed")
    );
    for snapshot in bench.vm.snapshots() {
        bench.vm.remove(&snapshot).await.expect("removed");
    }
    assert_eq!(
        run(&bench, &step("echo 2")).await.miss("one"),
        Some("its snapshot was evicted")
    );
    let options = RunOptions {
        no_cache: true,
        ..RunOptions::default()
    };
    let played = bench.play(step("echo 2").plan(), options).await;
    assert_eq!(played.miss("one"), Some("--no-cache"));
    assert_eq!(
        run(&bench, &step("echo 2")).await.steps()["one"],
        StepStatus::CacheHit
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_shadows_a_changed_source_file_is_a_miss() {
    let bench = Bench::new();
    std::fs::write(bench.tree().join("a.txt"), "a\n").expect("written");
    let plan = PlanWriter::of([
        StepWriter::new("patch", "echo patched >> a.txt").cached("forever"),
        StepWriter::new("show", "cat a.txt").builds_in("patch"),
    ]);
    assert_eq!(stdout(&run(&bench, &plan).await, "show"), "a\npatched\n");
    assert_eq!(run(&bench, &plan).await.steps()["patch"], StepStatus::CacheHit);
    std::fs::write(bench.tree().join("a.txt"), "b\n").expect("written");
    let third = run(&bench, &plan).await;
    assert!(third.miss("patch").expect("a miss").contains("a.txt"));
    assert_eq!(stdout(&third, "show"), "b\npatched\n");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_never_cached() {
    let bench = Bench::new();
    let plan = PlanWriter::of([StepWriter::new("one", "hm-flaky one 1").cached("forever")]).plan();
    let played = bench.play(plan.clone(), RunOptions::default()).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::Failed);
    let played = bench.play(plan.clone(), RunOptions::default()).await;
    assert_eq!(played.steps()["one"], StepStatus::Passed);
    let played = bench.play(plan, RunOptions::default()).await;
    assert_eq!(played.steps()["one"], StepStatus::CacheHit);
}

#[tokio::test(start_paused = true)]
async fn a_step_without_a_policy_always_runs_and_holds_back_what_builds_in_it() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("deploy", "hm-flaky deploy 0"),
        StepWriter::new("child", "true")
            .builds_in("deploy")
            .cached("auto"),
    ]);
    run(&bench, &plan).await;
    let second = run(&bench, &plan).await;
    assert_eq!(second.steps()["deploy"], StepStatus::Passed);
    assert_eq!(second.steps()["child"], StepStatus::CacheHit);
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_gone_runs_again_only_when_a_child_needs_it() {
    let bench = Bench::new();
    let plan = |last: &str| {
        PlanWriter::of([
            StepWriter::new("root", "echo root > root").cached("forever"),
            StepWriter::new("left", "true")
                .builds_in("root")
                .cached("forever"),
            StepWriter::new("right", last).builds_in("root").cached("forever"),
        ])
    };
    let first = run(&bench, &plan("true")).await;
    let outcome = first.outcome.expect("it ended");
    let root = outcome.steps[0].snapshot.clone().expect("a snapshot");
    bench
        .vm
        .remove(&hm_vm::SnapshotId(root.0))
        .await
        .expect("removed");
    let before = bench.vm.counters().execs;
    let second = run(&bench, &plan("true")).await;
    assert_eq!(
        bench.vm.counters().execs,
        before,
        "nobody needs the root's machine"
    );
    assert!(second.skipped("root").expect("skipped").contains("cached"));
    let third = run(&bench, &plan("cat root")).await;
    assert_eq!(stdout(&third, "right"), "root\n");
    assert_eq!(third.steps()["left"], StepStatus::CacheHit);
    assert_eq!(bench.vm.counters().execs, before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_plan_whose_key_is_older_than_the_files_it_watches_finds_nothing() {
    let bench = Bench::new();
    let policy =
        serde_json::json!({"policy": "on_change", "paths": ["src/*.c"], "key": "as the author saw it"});
    let plan = PlanWriter::of([StepWriter::new("build", "cat src/a.c").with("cache", policy)]);
    std::fs::create_dir(bench.tree().join("src")).expect("made");
    std::fs::write(bench.tree().join("src/a.c"), "old").expect("written");
    bench.play(plan.plan(), RunOptions::default()).await;
    std::fs::write(bench.tree().join("src/notes"), "not watched").expect("written");
    let second = bench.play(plan.plan(), RunOptions::default()).await;
    assert_eq!(second.steps()["build"], StepStatus::CacheHit);
    std::fs::write(bench.tree().join("src/a.c"), "newer").expect("written");
    let third = bench.play(plan.plan(), RunOptions::default()).await;
    assert_eq!(third.miss("build"), Some("what its cache policy watches changed"));
    assert_eq!(stdout(&third, "build"), "newer\n");
}
