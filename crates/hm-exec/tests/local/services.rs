//! Services beside steps: when they run, what of them is told, and that none is ever left.

use std::num::NonZeroUsize;
use std::time::Duration;

use hm_exec::testing::{PlanWriter, Played, StepWriter, check_order, play};
use hm_exec::{BackendError, BuildStatus, ExecutionBackend, Resume, RunOptions, StepStatus};
use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::{Features, ImageConfig, ImageMap, ImageReference, Network, PodRequest};
use serde_json::{Value, json};

use crate::support::{Bench, stdout};

fn service(name: &str, cmd: &str) -> Value {
    json!({"name": name, "cmd": cmd})
}

/// A server that can be used once it answers.
fn server(name: &str, scope: &str) -> Value {
    json!({
        "name": name, "cmd": format!("hm-serve {name}"), "scope": scope,
        "health": {"cmd": format!("hm-probe {name}"), "interval_seconds": 1, "timeout_seconds": 30},
    })
}

fn step(key: &str, cmd: &str, services: impl IntoIterator<Item = Value>) -> StepWriter {
    StepWriter::new(key, cmd).with("services", services.into_iter().collect::<Vec<_>>())
}

async fn run(bench: &Bench, plan: &PlanWriter) -> Played {
    run_with(bench, plan, RunOptions::default()).await
}

async fn run_with(bench: &Bench, plan: &PlanWriter, options: RunOptions) -> Played {
    let plan = plan.plan();
    let played = bench.play(plan.clone(), options).await;
    check_order(&played.events, &plan.graph).expect("the order holds");
    nothing_is_left(bench);
    played
}

fn nothing_is_left(bench: &Bench) {
    let counters = bench.vm.counters();
    assert_eq!((counters.live, counters.running, counters.pods_open), (0, 0, 0));
}

fn logged(played: &Played, key: &str, name: &str) -> Vec<String> {
    let id = played.id(key);
    let lines = played.events.iter().filter_map(|event| match event {
        BuildEvent::StepLog {
            step_id,
            service: Some(service),
            line,
            ..
        } if Some(*step_id) == id && service == name => Some(line.clone()),
        _ => None,
    });
    lines.collect()
}

fn status(played: &Played) -> BuildStatus {
    played.status().expect("no infrastructure failure")
}

fn message<'a>(played: &'a Played, key: &str) -> &'a str {
    let (_, _, message) = played.end(key).expect("it ended");
    message.expect("a message")
}

fn began(bench: &Bench, cmd: &str) -> usize {
    bench.vm.trace().iter().filter(|ran| *ran == cmd).count()
}

#[tokio::test(start_paused = true)]
async fn a_step_reaches_its_services_by_their_names_and_their_log_is_told() {
    let bench = Bench::new();
    let plan = PlanWriter::of([step(
        "test",
        "hm-probe db && hm-probe db db && hm-probe web web",
        [server("db", "step"), server("web", "step")],
    )]);
    let played = run(&bench, &plan).await;
    assert_eq!(status(&played), BuildStatus::Passed);
    assert_eq!(logged(&played, "test", "db"), ["db serves"]);
    assert_eq!(logged(&played, "test", "web"), ["web serves"]);
    assert_eq!(bench.vm.counters().pods_opened, 1);
    assert_eq!(played.end("test").expect("it ended").2, None);
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_until_its_health_checks_pass_and_services_start_at_once() {
    let bench = Bench::new();
    let slow = |name: &str| {
        json!({
            "name": name, "cmd": format!("sleep 4.5; hm-serve {name}"),
            "health": {"cmd": format!("hm-probe {name}"), "interval_seconds": 1},
        })
    };
    let plan = PlanWriter::of([step(
        "test",
        "hm-probe a && hm-probe b && hm-probe c",
        [slow("a"), slow("b"), slow("c")],
    )]);
    let begun = tokio::time::Instant::now();
    let played = run(&bench, &plan).await;
    assert_eq!(status(&played), BuildStatus::Passed);
    assert_eq!(begun.elapsed().as_secs(), 5, "in the paused clock's time");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ends_before_it_can_be_used_fails_the_step() {
    let bench = Bench::new();
    let dies = json!({
        "name": "db", "cmd": "echo no disk >&2; exit 7", "health": {"cmd": "hm-probe db"},
    });
    let returns = json!({"name": "web", "cmd": "true", "health": {"cmd": "hm-probe web"}});
    let plan = PlanWriter::of([
        step("one", "echo never", [dies, server("other", "step")]),
        step("two", "echo never", [returns]),
    ]);
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, options).await;
    assert_eq!(status(&played), BuildStatus::Failed);
    let (code, ended, _) = played.end("one").expect("it ended");
    assert_eq!((code, ended), (1, Some(StepEndStatus::Failed)));
    assert_eq!(
        message(&played, "one"),
        "service `db` ended with exit code 7 before it could be used: its log says why"
    );
    assert!(message(&played, "two").contains("foreground"));
    assert_eq!(logged(&played, "one", "db"), ["no disk"]);
    assert_eq!(stdout(&played, "one"), "");
    let outcome = played.outcome.as_ref().expect("it ended");
    assert!(outcome.steps[0].snapshot.is_some(), "a shell can be opened there");
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_never_passes_fails_the_step() {
    let bench = Bench::new();
    let plan = PlanWriter::of([step(
        "test",
        "echo never",
        [json!({
            "name": "db", "cmd": "hm-serve other",
            "health": {"cmd": "hm-probe db", "interval_seconds": 2, "timeout_seconds": 9},
        })],
    )]);
    let begun = tokio::time::Instant::now();
    let played = run(&bench, &plan).await;
    assert_eq!(begun.elapsed().as_secs(), 9, "in the paused clock's time");
    let words = message(&played, "test");
    for part in [
        "`db`",
        "9 s",
        "`hm-probe db`",
        "exit code 1",
        "does not answer",
        "timeout_seconds",
    ] {
        assert!(words.contains(part), "{words} lacks {part}");
    }
    assert_eq!(began(&bench, "hm-probe db"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_hangs_is_ended() {
    let bench = Bench::new();
    let plan = PlanWriter::of([step(
        "test",
        "echo never",
        [json!({
            "name": "db", "cmd": "hm-serve db",
            "health": {"cmd": "sleep 100000", "timeout_seconds": 9},
        })],
    )]);
    let played = run(&bench, &plan).await;
    assert!(message(&played, "test").contains("it did not end"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_dies_while_the_step_runs_is_told() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        step("fails", "sleep 9; exit 4", [service("db", "sleep 3; exit 5")]),
        step("passes", "sleep 9", [service("db", "sleep 3; exit 5")]),
        step("done", "sleep 9", [service("db", "sleep 3")]),
        step("big", "sleep 9; false", [service("db", "hm-oom")]),
    ]);
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, options).await;
    for key in ["fails", "passes"] {
        assert_eq!(
            message(&played, key),
            "service `db` ended with exit code 5 before the step did"
        );
    }
    assert_eq!(played.end("fails").map(|end| end.0), Some(4));
    assert_eq!(played.end("passes").map(|end| end.0), Some(0));
    assert_eq!(played.end("done").expect("it ended").2, None);
    assert!(message(&played, "big").contains("memory limit"));
}

#[tokio::test(start_paused = true)]
async fn a_chains_service_lives_from_the_first_step_that_runs_to_the_last() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        step("prepare", "hm-probe db", []),
        step(
            "one",
            "hm-probe db db && hm-probe own own",
            [server("db", "chain"), server("own", "step")],
        )
        .builds_in("prepare"),
        step("two", "hm-probe db db && hm-probe own || echo alone", []).builds_in("one"),
        step(
            "three",
            "hm-probe db && hm-probe late late",
            [server("late", "chain")],
        )
        .builds_in("two"),
        step("fork", "hm-probe db || echo away", []).builds_in("one"),
    ]);
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, options).await;
    assert_eq!(played.steps()["prepare"], StepStatus::Failed, "it comes before");
    let plan = PlanWriter::of([
        step("prepare", "true", []),
        step(
            "one",
            "hm-probe db db && hm-probe own own",
            [server("db", "chain"), server("own", "step")],
        )
        .builds_in("prepare"),
        step("two", "hm-probe db db && hm-probe own || echo alone", []).builds_in("one"),
        step(
            "three",
            "hm-probe db && hm-probe late late",
            [server("late", "chain")],
        )
        .builds_in("two"),
        step("fork", "hm-probe db || echo away", []).builds_in("one"),
    ]);
    let played = run(&bench, &plan).await;
    assert_eq!(status(&played), BuildStatus::Passed, "{:?}", played.events);
    assert_eq!(
        stdout(&played, "two"),
        "alone\n",
        "what is the step's own has ended"
    );
    assert_eq!(stdout(&played, "fork"), "away\n", "it is another chain");
    assert_eq!(began(&bench, "hm-serve db"), 1);
    assert_eq!(began(&bench, "hm-serve late"), 1);
    assert_eq!(bench.vm.counters().pods_opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_chains_log_goes_under_the_step_that_runs() {
    let bench = Bench::new();
    let chatty = json!({"name": "db", "scope": "chain", "cmd": "echo 0; sleep 10; echo 10; sleep 10; echo 20; hm-serve db"});
    let plan = PlanWriter::of([
        step("one", "sleep 5", [chatty]),
        // Nobody runs in the chain while the third step does.
        step("two", "sleep 1", []).builds_in("one").after("between"),
        step("between", "sleep 10", []).after("one"),
        step("three", "sleep 10", []).builds_in("two"),
    ]);
    let played = run(&bench, &plan).await;
    assert_eq!(status(&played), BuildStatus::Passed);
    assert_eq!(logged(&played, "one", "db"), ["0"]);
    assert_eq!(logged(&played, "two", "db"), ["10"], "it waited for this step");
    assert_eq!(logged(&played, "three", "db"), ["20", "db serves"]);
}

#[tokio::test(start_paused = true)]
async fn a_cached_step_starts_no_service_and_a_later_one_starts_its_chains() {
    let bench = Bench::new();
    let plan = |last: &str| {
        PlanWriter::of([
            step(
                "setup",
                "hm-probe db && echo ready > state",
                [server("db", "chain")],
            )
            .cached("forever"),
            step("test", last, []).builds_in("setup").cached("forever"),
        ])
    };
    let played = run(&bench, &plan("hm-probe db")).await;
    assert_eq!(status(&played), BuildStatus::Passed);
    let before = bench.vm.counters();
    let played = run(&bench, &plan("hm-probe db")).await;
    assert!(
        played
            .steps()
            .values()
            .all(|status| *status == StepStatus::CacheHit)
    );
    assert_eq!(bench.vm.counters().execs, before.execs);
    assert_eq!(bench.vm.counters().pods_opened, before.pods_opened);
    let played = run(&bench, &plan("cat state && hm-probe db db")).await;
    assert_eq!(played.steps()["setup"], StepStatus::CacheHit);
    assert_eq!(played.steps()["test"], StepStatus::Passed);
    assert_eq!(began(&bench, "hm-serve db"), 2);
}

#[tokio::test(start_paused = true)]
async fn another_image_of_a_service_is_another_cache_key() {
    let bench = Bench::new();
    let plan = |image: &str| {
        let db = json!({"name": "db", "cmd": "hm-serve db", "image": image});
        PlanWriter::of([step("test", "true", [db]).cached("forever")])
    };
    let mapped = |target: &str| {
        let mut images = ImageMap::default();
        images.insert(ImageReference::new("postgres"), ImageReference::new(target));
        RunOptions {
            images,
            ..RunOptions::default()
        }
    };
    run_with(&bench, &plan("postgres"), mapped("host")).await;
    let played = run_with(&bench, &plan("postgres"), mapped("host")).await;
    assert_eq!(played.steps()["test"], StepStatus::CacheHit);
    let played = run_with(&bench, &plan("postgres"), mapped("ubuntu:24.04")).await;
    assert_eq!(played.miss("test"), Some("services changed"));
    let BuildEvent::BuildStart {
        header: Some(header), ..
    } = &played.events[0]
    else {
        panic!("{:?}", played.events[0]);
    };
    let pinned: Vec<_> = header
        .images
        .iter()
        .map(|image| (image.name.as_str(), image.digest.as_str()))
        .collect();
    assert_eq!(
        pinned,
        [("host", "memory:host"), ("postgres", "memory:ubuntu:24.04")]
    );
}

#[tokio::test(start_paused = true)]
async fn only_and_resume_start_the_services_of_earlier_steps() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        step("setup", "hm-probe db", [server("db", "chain")]).cached("forever"),
        step("test", "hm-probe db", []).builds_in("setup"),
    ]);
    let first = run(&bench, &plan).await;
    let only = RunOptions {
        only: Some("test".into()),
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, only).await;
    assert_eq!(played.steps()["test"], StepStatus::Passed);
    assert_eq!(began(&bench, "hm-serve db"), 2);
    let left = first.outcome.as_ref().expect("it ended").steps[0]
        .snapshot
        .clone();
    let done = [(
        "setup".to_owned(),
        left.unwrap_or_else(|| SnapshotRef(String::new())),
    )];
    let resumed = RunOptions {
        no_cache: true,
        resume: Some(Resume { done: done.into() }),
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, resumed).await;
    assert_eq!(played.steps()["setup"], StepStatus::CacheHit);
    assert_eq!(played.steps()["test"], StepStatus::Passed);
    assert_eq!(began(&bench, "hm-serve db"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_begins_the_steps_services_anew_and_keeps_the_chains() {
    let bench = Bench::new();
    let plan = PlanWriter::of([step(
        "flaky",
        "hm-probe own && hm-probe shared && hm-flaky f 2",
        [server("own", "step"), server("shared", "chain")],
    )
    .with("retries", 2)]);
    let played = run(&bench, &plan).await;
    assert_eq!(status(&played), BuildStatus::Passed);
    assert_eq!(
        (began(&bench, "hm-serve own"), began(&bench, "hm-serve shared")),
        (3, 1)
    );
    assert_eq!(bench.vm.counters().pods_opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_starts_a_chains_service_again_that_could_not_be_used() {
    let bench = Bench::new();
    let db = json!({
        "name": "db", "scope": "chain", "cmd": "hm-flaky db 2 && hm-serve db", "health": {"cmd": "hm-probe db"},
    });
    let plan = PlanWriter::of([step("flaky", "hm-probe db", [db]).with("retries", 2)]);
    let played = run(&bench, &plan).await;
    assert_eq!(status(&played), BuildStatus::Passed, "{:?}", played.events);
}

#[tokio::test(start_paused = true)]
async fn a_soft_failure_leaves_the_chain_its_services() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        step("soft", "exit 3", [server("db", "chain")]).with("soft_fail", true),
        step("test", "hm-probe db", []).builds_in("soft"),
    ]);
    assert_eq!(status(&run(&bench, &plan).await), BuildStatus::Passed);
    assert_eq!(began(&bench, "hm-serve db"), 1);
}

#[tokio::test(start_paused = true)]
async fn step_timeout_counts_from_the_command_and_not_from_its_services() {
    let bench = Bench::new();
    let slow = json!({"name": "db", "cmd": "sleep 30 && hm-serve db", "health": {"cmd": "hm-probe db"}});
    let never =
        json!({"name": "db", "cmd": "hm-serve db", "health": {"cmd": "false", "timeout_seconds": 20}});
    let plan = PlanWriter::of([
        step("test", "hm-probe db; sleep 4", [slow.clone()]).with("timeout_seconds", 5),
        step("long", "sleep 100", [slow]).with("timeout_seconds", 5),
        step("never", "echo never", [never]).with("timeout_seconds", 5),
    ]);
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, options).await;
    let ended = |key: &str| {
        let (code, status, message) = played.end(key).expect("it ended");
        (code, status.expect("a status"), message.unwrap_or_default())
    };
    assert_eq!(ended("test"), (0, StepEndStatus::Passed, ""));
    let late = "it ran into its timeout of 5 s";
    assert_eq!(ended("long"), (124, StepEndStatus::TimedOut, late));
    let (code, status, message) = ended("never");
    assert_eq!((code, status), (1, StepEndStatus::Failed));
    assert!(message.contains("within 20 s"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_breaks_for_a_service_is_an_error_and_leaves_nothing() {
    for (cmd, health, words) in [
        ("sleep 3; hm-infra", "true", "told to break"),
        ("sleep 3; hm-panic", "true", "told to panic"),
        ("hm-infra", "true", "told to break"),
        ("hm-serve db", "hm-infra", "told to break"),
        ("hm-serve db", "hm-panic", "told to panic"),
    ] {
        for scope in ["step", "chain"] {
            let bench = Bench::new();
            let db = json!({"name": "db", "cmd": cmd, "health": {"cmd": health}, "scope": scope});
            let plan = PlanWriter::of([
                step("broken", "sleep 1000", [db]),
                step("child", "true", []).builds_in("broken"),
                step("long", "sleep 1000", [server("web", "step")]),
            ]);
            let played = run(&bench, &plan).await;
            let error = played.outcome.as_ref().expect_err("an infrastructure failure");
            let error = error.to_string();
            for part in [words, "`broken`", "`db`"] {
                assert!(error.contains(part), "{error} lacks {part}");
            }
            assert_eq!(played.end("long").map(|end| end.0), Some(130));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_breaks_leaves_no_service() {
    for broken in ["hm-infra", "hm-panic"] {
        let bench = Bench::new();
        let plan = PlanWriter::of([step(
            "broken",
            broken,
            [server("own", "step"), server("shared", "chain")],
        )]);
        let played = run(&bench, &plan).await;
        assert!(played.outcome.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn cancellation_stops_services_whatever_they_are_about() {
    let never = json!({"name": "db", "cmd": "echo begun; sleep 1000", "health": {"cmd": "false"}});
    let chain = json!({"name": "db", "cmd": "echo begun; sleep 1000", "scope": "chain"});
    for service in [never, chain] {
        let bench = Bench::new();
        let plan = PlanWriter::of([
            step("one", "sleep 1000", [service]),
            step("two", "true", []).builds_in("one"),
        ])
        .plan();
        let request = bench.request(plan.clone(), RunOptions::default());
        let played = play(&bench.backend, request, |event, control| {
            if matches!(event, BuildEvent::StepLog { service: Some(_), .. }) {
                control.cancel();
            }
        });
        let played = played.await.expect("it starts");
        check_order(&played.events, &plan.graph).expect("the order holds");
        assert_eq!(status(&played), BuildStatus::Canceled);
        let (code, ended, message) = played.end("one").expect("it ended");
        assert_eq!((code, ended, message), (130, Some(StepEndStatus::Canceled), None));
        nothing_is_left(&bench);
    }
}

#[tokio::test(start_paused = true)]
async fn services_take_no_slots() {
    let bench = Bench::new();
    let plan = PlanWriter::of([step(
        "test",
        "hm-probe a && hm-probe b",
        [server("a", "step"), server("b", "chain")],
    )]);
    let options = RunOptions {
        parallelism: NonZeroUsize::new(1),
        ..RunOptions::default()
    };
    assert_eq!(
        status(&run_with(&bench, &plan, options).await),
        BuildStatus::Passed
    );
    assert_eq!(bench.vm.counters().most_running, 3);
}

#[tokio::test(start_paused = true)]
async fn a_pod_has_the_names_and_the_network_of_its_steps() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        step(
            "one",
            "echo begun; sleep 10",
            [server("b", "chain"), server("a", "step")],
        )
        .with("network", "none"),
        step("two", "true", [server("c", "step")])
            .with("network", "none")
            .builds_in("one"),
    ])
    .plan();
    let request = bench.request(plan, RunOptions::default());
    let mut pods = Vec::new();
    let played = play(&bench.backend, request, |event, _| {
        if matches!(event, BuildEvent::StepLog { service: None, .. }) {
            pods = bench.vm.pods();
        }
    });
    assert_eq!(status(&played.await.expect("it starts")), BuildStatus::Passed);
    let expected = PodRequest {
        network: Network::None,
        hosts: ["a", "b", "c"].map(str::to_owned).to_vec(),
    };
    assert_eq!(pods, [expected]);
}

#[tokio::test(start_paused = true)]
async fn an_images_own_command_runs_as_the_image_says() {
    let bench = Bench::new();
    bench.vm.configure(
        "ubuntu:24.04",
        ImageConfig {
            entrypoint: vec!["sh".into(), "-c".into()],
            cmd: vec!["id -un; pwd; echo $A; hm-serve db".into()],
            user: Some("postgres".into()),
            working_dir: Some("/srv".into()),
            ..ImageConfig::default()
        },
    );
    let db = json!({
        "name": "db", "image": "ubuntu:24.04", "env": {"A": "1"},
        "health": {"cmd": "hm-probe db && echo $A > checked"},
    });
    let plan = PlanWriter::of([step("test", "hm-probe db", [db])]);
    let mut request = bench.request(plan.plan(), RunOptions::default());
    request.env.insert("A".into(), "of the run's steps".into());
    let played = play(&bench.backend, request, |_, _| {}).await.expect("it starts");
    assert_eq!(status(&played), BuildStatus::Passed);
    assert_eq!(
        logged(&played, "test", "db"),
        ["postgres", "/srv", "1", "db serves"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_has_the_source_and_its_data_are_thrown_away() {
    let bench = Bench::new();
    std::fs::write(bench.tree().join("config"), "port 1\n").expect("written");
    let plan = PlanWriter::of([
        step(
            "one",
            "cat data || echo away",
            [service("db", "cat config; echo x > data; hm-serve db")],
        ),
        step("two", "cat data || echo away", []).builds_in("one"),
    ]);
    let played = run(&bench, &plan).await;
    assert_eq!(logged(&played, "one", "db"), ["port 1", "db serves"]);
    assert_eq!(
        (stdout(&played, "one"), stdout(&played, "two")),
        ("away\n".into(), "away\n".into())
    );
}

async fn refused(bench: &Bench, plan: &PlanWriter, options: RunOptions) -> String {
    let started = bench.backend.start(bench.request(plan.plan(), options)).await;
    let error = started.map(|_| ()).expect_err("it is refused");
    assert!(
        matches!(error, BackendError::Rejected { .. } | BackendError::NotFound(_)),
        "{error:?}"
    );
    assert_eq!(
        (bench.vm.counters().created, bench.vm.counters().pods_opened),
        (0, 0)
    );
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_before_anything_starts() {
    let bench = Bench::new();
    let silent = json!({"name": "db", "image": "ubuntu:24.04"});
    let missing = json!({"name": "db", "image": "postgres:17"});
    let networks = [
        step("one", "true", [server("db", "chain")]),
        step("two", "true", []).builds_in("one").with("network", "none"),
    ];
    for (plan, parts) in [
        (
            PlanWriter::of([step("test", "true", [silent])]),
            ["`db`", "`test`", "no `cmd`"],
        ),
        (
            PlanWriter::of([step("test", "true", [missing])]),
            [
                "service `db` of step `test`",
                "postgres:17",
                "--image postgres:17=host",
            ],
        ),
        (PlanWriter::of(networks), ["`two`", "`db`", "network"]),
        (
            PlanWriter::of([step("test", "true", [service("db", &"x".repeat(2 << 20))])]),
            ["service `db` of step `test`", "too_long", "script"],
        ),
    ] {
        let words = refused(&bench, &plan, RunOptions::default()).await;
        for part in parts {
            assert!(words.contains(part), "{words} lacks {part}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_lacks_is_refused_unless_the_step_takes_no_part() {
    for (field, value, what) in [
        ("services", json!([server("db", "step")]), "services"),
        ("secrets", json!([{"name": "TOKEN"}]), "secrets"),
        (
            "caches",
            json!([{"name": "cargo", "path": "~/.cargo"}]),
            "cache directories",
        ),
        ("artifacts", json!([{"paths": ["a"]}]), "artifacts"),
        ("limits", json!({"memory": 1}), "memory"),
        ("limits", json!({"cpus": 1}), "processors"),
        ("limits", json!({"pids": 1}), "processes"),
        ("limits", json!({"disk": 1}), "disk"),
    ] {
        let bench = Bench::with_features(Features::default());
        let plan = PlanWriter::of([
            StepWriter::new("plain", "true"),
            StepWriter::new("needy", "true").with(field, value),
        ]);
        let words = refused(&bench, &plan, RunOptions::default()).await;
        for part in ["(unsupported)", "`needy`", what, "memory"] {
            assert!(words.contains(part), "{words} lacks {part}");
        }
        let only = RunOptions {
            only: Some("plain".into()),
            ..RunOptions::default()
        };
        assert_eq!(status(&run_with(&bench, &plan, only).await), BuildStatus::Passed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_builds_timeout_stops_the_services_of_idle_chains() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        step("one", "true", [server("db", "chain")]),
        step("slow", "sleep 1000", []).after("one"),
        step("two", "true", []).builds_in("one").after("slow"),
    ]);
    let options = RunOptions {
        timeout: Some(Duration::from_secs(20)),
        ..RunOptions::default()
    };
    let played = run_with(&bench, &plan, options).await;
    assert_eq!(status(&played), BuildStatus::TimedOut);
}
