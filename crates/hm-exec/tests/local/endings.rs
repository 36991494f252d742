//! How builds end: failures, timeouts, cancellation, and what breaks on our side.

use std::time::Duration;

use hm_exec::testing::{PlanWriter, StepWriter, check_order, play};
use hm_exec::{BuildStatus, ExecutionBackend, RunOptions, StepStatus};
use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};
use hm_vm::testing::Delays;

use crate::support::{Bench, stdout};

fn keep_going() -> RunOptions {
    RunOptions {
        keep_going: true,
        ..RunOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_its_descendants_and_cancels_the_rest() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("bad", "echo left > file; exit 3"),
        StepWriter::new("child", "true").builds_in("bad"),
        StepWriter::new("after", "true").after("child"),
        StepWriter::new("long", "sleep 1000"),
        StepWriter::new("later", "true").builds_in("long"),
    ])
    .plan();
    let played = bench.play(plan.clone(), RunOptions::default()).await;
    check_order(&played.events, &plan.graph).expect("the order holds");
    assert_eq!(played.status().expect("it ended"), BuildStatus::Failed);
    let (code, status, _) = played.end("bad").expect("it ended");
    assert_eq!((code, status), (3, Some(StepEndStatus::Failed)));
    assert_eq!(played.skipped("child"), Some("`bad` failed"));
    assert_eq!(played.skipped("after"), Some("`bad` failed"));
    assert_eq!(played.skipped("later"), Some("canceled because `bad` failed"));
    let (code, status, _) = played.end("long").expect("it ended");
    assert_eq!((code, status), (130, Some(StepEndStatus::Canceled)));
    let left = played.outcome.as_ref().expect("it ended").steps[0]
        .snapshot
        .clone();
    assert!(left.is_some(), "what a failed step left is kept");
    assert_eq!(bench.vm.counters().live, 0);
}

#[tokio::test(start_paused = true)]
async fn keep_going_skips_only_descendants() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("bad", "exit 1"),
        StepWriter::new("child", "true").builds_in("bad"),
        StepWriter::new("long", "sleep 1000"),
        StepWriter::new("later", "true").builds_in("long"),
        StepWriter::new("both", "true").after("later").after("bad"),
    ])
    .plan();
    let played = bench.play(plan.clone(), keep_going()).await;
    check_order(&played.events, &plan.graph).expect("the order holds");
    assert_eq!(played.status().expect("it ended"), BuildStatus::Failed);
    let steps = played.steps();
    assert_eq!(steps["later"], StepStatus::Passed);
    assert_eq!(steps["child"], StepStatus::Skipped);
    assert_eq!(played.skipped("both"), Some("`bad` failed"));
    let cut = played
        .events
        .iter()
        .filter(|event| matches!(event, BuildEvent::ChainFailed { .. }));
    assert_eq!(cut.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_soft_failure_goes_on_from_what_the_step_left() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("soft", "echo half > file; exit 7")
            .with("soft_fail", true)
            .cached("auto"),
        StepWriter::new("child", "cat file")
            .builds_in("soft")
            .cached("auto"),
    ])
    .plan();
    for _ in 0..2 {
        let played = bench.play(plan.clone(), RunOptions::default()).await;
        check_order(&played.events, &plan.graph).expect("the order holds");
        assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
        let (code, status, _) = played.end("soft").expect("it ran");
        assert_eq!((code, status), (7, Some(StepEndStatus::SoftFailed)));
        assert_eq!(stdout(&played, "child"), "half\n");
    }
    assert_eq!(
        bench.vm.counters().execs,
        4,
        "neither the failure nor its child was cached"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_start_from_the_clean_parent() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("root", "echo x > count"),
        StepWriter::new("flaky", "echo x >> count; cat count; hm-flaky f 2")
            .builds_in("root")
            .with("retries", 2),
        StepWriter::new("hopeless", "false")
            .after("flaky")
            .with("retries", 1),
    ])
    .plan();
    let played = bench.play(plan.clone(), RunOptions::default()).await;
    check_order(&played.events, &plan.graph).expect("the order holds");
    assert_eq!(played.end("flaky").map(|end| end.0), Some(0));
    assert_eq!(stdout(&played, "flaky"), "x\nx\n".repeat(3));
    let retried = |key: &str| -> Vec<(u32, i32)> {
        let id = played.id(key).expect("queued");
        let events = played.events.iter().filter_map(|event| match event {
            BuildEvent::StepStart {
                step_id,
                attempt: Some(attempt),
                previous_exit_code: Some(exit_code),
                ..
            } if *step_id == id => Some((*attempt, *exit_code)),
            _ => None,
        });
        events.collect()
    };
    assert_eq!(retried("flaky"), [(2, 1), (3, 1)]);
    assert_eq!(retried("hopeless"), [(2, 1)]);
    assert_eq!(bench.vm.counters().live, 0);
}

#[tokio::test(start_paused = true)]
async fn a_steps_timeout_fails_the_build() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("slow", "echo begun; sleep 1000").with("timeout_seconds", 5),
        StepWriter::new("child", "true").builds_in("slow"),
    ])
    .plan();
    let played = bench.play(plan.clone(), RunOptions::default()).await;
    check_order(&played.events, &plan.graph).expect("the order holds");
    assert_eq!(played.status().expect("it ended"), BuildStatus::Failed);
    let (code, status, message) = played.end("slow").expect("it ended");
    assert_eq!((code, status), (124, Some(StepEndStatus::TimedOut)));
    assert!(message.expect("a message").contains("timeout of 5 s"));
    assert_eq!(stdout(&played, "slow"), "begun\n");
    assert_eq!(played.steps()["slow"], StepStatus::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn step_timeout_counts_from_the_command_and_not_from_the_machine() {
    let bench = Bench::new();
    bench.vm.delay(Delays {
        machine: Duration::from_secs(60),
        start: Duration::from_secs(60),
        ..Delays::default()
    });
    let plan = PlanWriter::of([
        StepWriter::new("quick", "sleep 4").with("timeout_seconds", 5),
        StepWriter::new("slow", "sleep 1000").with("timeout_seconds", 5),
    ])
    .plan();
    let played = bench.play(plan.clone(), keep_going()).await;
    assert_eq!(played.steps()["quick"], StepStatus::Passed);
    assert_eq!(played.steps()["slow"], StepStatus::TimedOut);
    // A build's own timeout counts from its start.
    let options = RunOptions {
        timeout: Some(Duration::from_secs(30)),
        ..keep_going()
    };
    let begun = tokio::time::Instant::now();
    let played = bench.play(plan, options).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(33), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn cancel_does_not_wait_for_what_a_machine_is_slow_at() {
    let long = Duration::from_secs(1000);
    let slow = [
        Delays {
            machine: long,
            ..Delays::default()
        },
        Delays {
            start: long,
            ..Delays::default()
        },
        Delays {
            snapshot: long,
            ..Delays::default()
        },
    ];
    for (delays, command) in slow
        .into_iter()
        .flat_map(|delays| [(delays, "true"), (delays, "exit 3")])
    {
        let bench = Bench::new();
        bench.vm.delay(delays);
        let plan = PlanWriter::of([
            StepWriter::new("step", command),
            StepWriter::new("child", "true").builds_in("step"),
        ])
        .plan();
        let request = bench.request(plan.clone(), RunOptions::default());
        let begun = tokio::time::Instant::now();
        let played = play(&bench.backend, request, |event, control| {
            if matches!(event, BuildEvent::StepStart { .. }) {
                let cancel = control.cancel_handle();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    cancel.terminate();
                });
            }
        });
        let played = played.await.expect("it starts");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(7), "{delays:?} {command}: {took:?}");
        check_order(&played.events, &plan.graph).expect("the order holds");
        assert_eq!(played.status().expect("it ended"), BuildStatus::Canceled);
        assert_eq!((bench.vm.counters().live, bench.vm.counters().running), (0, 0));
        assert_ne!(
            played.steps()["step"],
            StepStatus::Passed,
            "nothing is kept of it"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_smaller_of_the_builds_timeouts_ends_it() {
    for (planned, asked) in [
        (Some(5), None),
        (None, Some(5)),
        (Some(900), Some(5)),
        (Some(5), Some(900)),
    ] {
        let bench = Bench::new();
        let mut plan = PlanWriter::of([
            StepWriter::new("slow", "sleep 1000"),
            StepWriter::new("child", "true").builds_in("slow"),
        ]);
        if let Some(seconds) = planned {
            plan = plan.with("timeout_seconds", seconds);
        }
        let options = RunOptions {
            timeout: asked.map(Duration::from_secs),
            ..RunOptions::default()
        };
        let begun = tokio::time::Instant::now();
        let played = bench.play(plan.plan(), options).await;
        assert_eq!(begun.elapsed().as_secs(), 5, "in the paused clock's time");
        check_order(&played.events, &plan.plan().graph).expect("the order holds");
        assert_eq!(played.status().expect("it ended"), BuildStatus::TimedOut);
        assert_eq!(
            played.end("slow").map(|end| (end.0, end.1)),
            Some((124, Some(StepEndStatus::TimedOut)))
        );
        assert_eq!(played.skipped("child"), Some("the build ran into its timeout"));
        let outcome = played.outcome.as_ref().expect("it ended");
        assert!(
            outcome.steps[0].snapshot.is_some(),
            "what it hung on can be looked at"
        );
        assert!(matches!(
            played.events.last(),
            Some(BuildEvent::BuildEnd { exit_code: 124, .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn cancellation_ends_everything() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("one", "echo begun; sleep 1000"),
        StepWriter::new("two", "sleep 1000"),
        StepWriter::new("child", "true").builds_in("one"),
    ])
    .plan();
    let request = bench.request(plan.clone(), RunOptions::default());
    let played = play(&bench.backend, request, |event, control| {
        if matches!(event, BuildEvent::StepLog { .. }) {
            control.cancel();
            control.cancel();
        }
    });
    let played = played.await.expect("it starts");
    check_order(&played.events, &plan.graph).expect("the order holds");
    assert_eq!(played.status().expect("it ended"), BuildStatus::Canceled);
    assert!(matches!(
        played.events.last(),
        Some(BuildEvent::BuildEnd { exit_code: 130, .. })
    ));
    assert_eq!(
        played.end("one").map(|end| (end.0, end.1)),
        Some((130, Some(StepEndStatus::Canceled)))
    );
    assert!(
        played
            .steps()
            .values()
            .all(|status| *status == StepStatus::Canceled)
    );
    assert_eq!((bench.vm.counters().live, bench.vm.counters().running), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_cancels_the_build() {
    let bench = Bench::new();
    let plan = PlanWriter::of([StepWriter::new("one", "sleep 1000000")]).plan();
    let handle = bench
        .backend
        .start(bench.request(plan, RunOptions::default()))
        .await
        .expect("it starts");
    let (events, control) = handle.into_parts();
    drop(events);
    let outcome = control.wait().await.expect("it ended");
    assert_eq!(outcome.status, BuildStatus::Canceled);
    assert_eq!(bench.vm.counters().live, 0);
}

/// Nobody waits for a backend that has to look into snapshots to find out what is cached.
#[tokio::test(start_paused = true)]
async fn build_canceled_before_it_is_decided_runs_nothing() {
    let bench = Bench::new();
    let plan = PlanWriter::of([StepWriter::new("one", "true"), StepWriter::new("two", "true")]).plan();
    let handle = bench
        .backend
        .start(bench.request(plan, RunOptions::default()))
        .await
        .expect("it starts");
    let (events, control) = handle.into_parts();
    control.cancel();
    let read = futures::StreamExt::count(events);
    let (outcome, _) = tokio::join!(control.wait(), read);
    let outcome = outcome.expect("it ended");
    assert_eq!(outcome.status, BuildStatus::Canceled);
    let statuses: Vec<_> = outcome.steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Canceled; 2]);
    let counters = bench.vm.counters();
    assert_eq!((counters.checks, counters.live), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_on_our_side_is_an_error_and_still_ends_every_step() {
    for (broken, words) in [("hm-infra", "told to break"), ("hm-panic", "told to panic")] {
        let bench = Bench::new();
        let plan = PlanWriter::of([
            StepWriter::new("broken", broken),
            StepWriter::new("child", "true").builds_in("broken"),
            StepWriter::new("long", "sleep 1000"),
        ])
        .plan();
        let played = bench.play(plan.clone(), keep_going()).await;
        check_order(&played.events, &plan.graph).expect("the order holds");
        let error = played
            .outcome
            .as_ref()
            .expect_err("an infrastructure failure")
            .to_string();
        assert!(error.contains(words) && error.contains("`broken`"), "{error}");
        assert_eq!(played.end("long").map(|end| end.0), Some(130));
        assert_eq!(bench.vm.counters().live, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_and_a_missing_git_are_told() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("big", "hm-oom"),
        StepWriter::new("git", "echo 'fatal: not a git repository' >&2; exit 128"),
    ])
    .plan();
    let played = bench.play(plan, keep_going()).await;
    let (code, status, message) = played.end("big").expect("it ended");
    assert_eq!((code, status), (137, Some(StepEndStatus::Failed)));
    assert_eq!(message, Some("it used up its memory limit"));
    let (_, _, message) = played.end("git").expect("it ended");
    assert!(message.expect("a hint").contains("--git"));
}

#[tokio::test(start_paused = true)]
async fn output_arrives_whole_and_a_slow_reader_slows_the_step() {
    let bench = Bench::new();
    let long = "x".repeat(200_000);
    let plan = PlanWriter::of([StepWriter::new(
        "one",
        format!("seq 200000; printf {long}; printf end"),
    )])
    .plan();
    let handle = bench
        .backend
        .start(bench.request(plan, RunOptions::default()))
        .await
        .expect("it starts");
    let (mut events, control) = handle.into_parts();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.vm.counters().running, 1, "the step waits for its reader");
    let mut text = String::new();
    let mut next = 1;
    while let Some(event) = futures::StreamExt::next(&mut events).await {
        if let BuildEvent::StepLog { line, partial, .. } = event {
            if next <= 200_000 {
                assert_eq!(line, next.to_string());
                next += 1;
            } else {
                text.push_str(&line);
                assert_eq!(partial, text.len() < long.len() + 3);
            }
        }
    }
    assert_eq!(text, long + "end");
    assert_eq!(
        control.wait().await.expect("it ended").status,
        BuildStatus::Passed
    );
}

#[tokio::test(start_paused = true)]
async fn timed_out_step_has_the_grace_of_the_plan_and_is_kept() {
    let bench = Bench::new();
    let slow = StepWriter::new("slow", "hm-trap 3 0; echo begun; sleep 1000")
        .with("timeout_seconds", 5)
        .with("grace_seconds", 4);
    let played = bench
        .play(PlanWriter::of([slow]).plan(), RunOptions::default())
        .await;
    let (code, status, message) = played.end("slow").expect("it ended");
    assert_eq!((code, status), (124, Some(StepEndStatus::TimedOut)));
    assert!(
        message.is_some_and(|words| words.contains("timeout of 5 s")),
        "{message:?}"
    );
    assert_eq!(stdout(&played, "slow"), "begun\nterminated\n");
}

#[tokio::test(start_paused = true)]
async fn canceled_step_has_the_grace_of_the_run_and_is_kept() {
    for (grace, said) in [(4, "begun\nterminated\n"), (2, "begun\n"), (0, "begun\n")] {
        let bench = Bench::new();
        let plan = PlanWriter::of([StepWriter::new("slow", "hm-trap 3 0; echo begun; sleep 1000")]).plan();
        let options = RunOptions {
            grace: Duration::from_secs(grace),
            ..RunOptions::default()
        };
        let request = bench.request(plan, options);
        let played = play(&bench.backend, request, |event, control| {
            if matches!(event, BuildEvent::StepLog { .. }) {
                control.cancel();
            }
        })
        .await
        .expect("it starts");
        assert_eq!(played.status().expect("it ended"), BuildStatus::Canceled);
        assert_eq!(stdout(&played, "slow"), said, "grace {grace}");
        let outcome = played.outcome.as_ref().expect("it ended");
        assert!(
            outcome.steps[0].snapshot.is_some(),
            "what a canceled step left is kept"
        );
        assert_eq!(bench.vm.counters().live, 0);
    }
}
