//! Services with real processes: a web server of the host's Python.

use hm_exec::testing::{PlanWriter, Played, StepWriter, play, request};
use hm_exec::{BuildStatus, RunOptions};
use hm_plugin_protocol::events::{BuildEvent, StdStream, StepEndStatus};
use serde_json::{Value, json};

use crate::support::{Bench, status};

/// Prints what a web server says, or fails.
const FETCH: &str =
    "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode().strip())";

fn fetch(url: &str) -> String {
    format!("python3 -c '{FETCH}' {url}")
}

/// A web server over the source's `site`.
fn web(scope: &str) -> Value {
    json!({
        "name": "web", "scope": scope,
        "cmd": "echo from a service > site/own; exec python3 -u -m http.server 8080 --directory site",
        "health": {"cmd": fetch("http://localhost:8080/page"), "interval_seconds": 0.1, "timeout_seconds": 60},
    })
}

fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.tree().join("site")).expect("a directory");
    std::fs::write(bench.tree().join("site/page"), "from the source\n").expect("written");
    bench
}

fn step(key: &str, cmd: &str) -> StepWriter {
    StepWriter::new(key, cmd)
}

fn stdout(played: &Played, key: &str) -> String {
    played.output(key, StdStream::Stdout)
}

fn logged(played: &Played, key: &str) -> String {
    let id = played.id(key);
    let lines = played.events.iter().filter_map(|event| match event {
        BuildEvent::StepLog {
            step_id,
            line,
            service: Some(_),
            ..
        } if Some(*step_id) == id => Some(format!("{line}\n")),
        _ => None,
    });
    lines.collect()
}

#[tokio::test]
async fn a_step_reaches_a_web_server_by_its_name() {
    let bench = bench();
    let cmd = format!(
        "{}; {}; ls site",
        fetch("http://web:8080/page"),
        fetch("http://localhost:8080/own")
    );
    let plan = PlanWriter::of([step("test", &cmd).with("services", json!([web("step")]))]);
    let played = bench.passes(&plan).await;
    assert_eq!(
        stdout(&played, "test"),
        "from the source\nfrom a service\npage\n",
        "the service has files of its own"
    );
    let log = logged(&played, "test");
    assert!(log.contains("GET /page") && log.contains("GET /own"), "{log}");
}

#[tokio::test]
async fn services_see_each_other_and_two_builds_do_not() {
    let bench = bench();
    let asks = json!({
        "name": "asks", "cmd": format!("{}; exec sleep 5000", fetch("http://web:8080/page")),
    });
    let plan = |scope: &str| {
        let test = format!(
            "until grep -q . /dev/null; do {} && break; done",
            fetch("http://web:8080/page")
        );
        PlanWriter::of([
            step("one", &test).with("services", json!([web(scope)])),
            step("two", &test).with("services", json!([web(scope), asks])),
        ])
    };
    let played = bench.passes(&plan("step")).await;
    for key in ["one", "two"] {
        assert_eq!(
            stdout(&played, key),
            "from the source\n",
            "both servers have port 8080"
        );
    }
}

#[tokio::test]
async fn a_chains_server_is_one_for_all_its_steps() {
    let bench = bench();
    let pid = json!({
        "name": "web", "scope": "chain",
        "cmd": "mkdir run; cat /proc/sys/kernel/random/uuid > run/id; exec python3 -u -m http.server 8080 --directory run",
        "health": {"cmd": fetch("http://localhost:8080/id"), "interval_seconds": 0.1},
    });
    let ask = fetch("http://web:8080/id");
    let plan = PlanWriter::of([
        step("one", &ask).with("services", json!([pid])),
        step("two", &format!("test ! -e run; {ask}")).builds_in("one"),
        step("three", &format!("{ask} || echo away")).builds_in("one"),
    ]);
    let played = bench.passes(&plan).await;
    assert_eq!(stdout(&played, "one"), stdout(&played, "two"));
    assert_eq!(stdout(&played, "one").len(), 37);
    assert_eq!(
        stdout(&played, "three"),
        "away\n",
        "another chain has another network"
    );
    assert_eq!(logged(&played, "two").matches("GET /id").count(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_start_fails_the_step_and_says_why() {
    let bench = bench();
    let broken = json!({
        "name": "web", "cmd": "exec python3 -u -m http.server 8080 --directory site --no-such-flag",
        "health": {"cmd": fetch("http://localhost:8080/page"), "interval_seconds": 0.1},
    });
    let plan = PlanWriter::of([step("test", "echo never").with("services", json!([broken]))]);
    let played = bench.run(&plan).await;
    let (code, ended, message) = played.end("test").expect("it ended");
    assert_eq!((code, ended), (1, Some(StepEndStatus::Failed)));
    let message = message.expect("a message");
    assert!(
        message.contains("service `web` ended with exit code 2"),
        "{message}"
    );
    assert!(logged(&played, "test").contains("--no-such-flag"));
    assert_eq!(stdout(&played, "test"), "");
}

#[tokio::test]
async fn a_server_that_is_killed_is_told_of_by_the_step_that_needed_it() {
    let bench = bench();
    let dies = json!({
        "name": "web", "cmd": "echo dying; sleep 0.2; kill -SEGV $$",
    });
    let plan = PlanWriter::of([step("test", "sleep 0.5; exit 3").with("services", json!([dies]))]);
    let played = bench.run(&plan).await;
    let (code, _, message) = played.end("test").expect("it ended");
    assert_eq!(code, 3);
    assert_eq!(
        message,
        Some("service `web` ended with exit code 139 before the step did")
    );
    assert_eq!(logged(&played, "test"), "dying\n");
}

#[tokio::test]
async fn cancellation_reaches_services_and_leaves_nothing() {
    let bench = bench();
    let stubborn = json!({
        "name": "db", "scope": "chain",
        "cmd": "trap '' TERM INT; (trap '' TERM INT; sleep 5000) & echo begun; wait",
    });
    let plan = PlanWriter::of([
        step("test", "sleep 5000").with("services", json!([stubborn, web("step")])),
        step("later", "true").builds_in("test"),
    ]);
    let request = request(plan.plan(), &bench.tree(), RunOptions::default());
    let played = play(&bench.backend, request, |event, control| {
        if matches!(event, BuildEvent::StepLog { service: Some(service), .. } if service == "db") {
            control.cancel();
        }
    });
    let played = played.await.expect("it starts");
    assert_eq!(status(&played), BuildStatus::Canceled);
}
