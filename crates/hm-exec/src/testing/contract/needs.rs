//! What steps need beside their command: services and cache directories.

use hm_plugin_protocol::events::{BuildEvent, StdStream, StepEndStatus};
use serde_json::json;

use super::Subject;
use super::subject::status;
use crate::testing::{PlanWriter, Played, StepWriter};
use crate::{BuildStatus, RunOptions, StepStatus};

fn log(played: &Played, key: &str, name: &str) -> Vec<String> {
    let id = played.id(key);
    let (mut lines, mut begun) = (Vec::new(), String::new());
    for event in &played.events {
        if let BuildEvent::StepLog {
            step_id,
            service: Some(service),
            line,
            partial,
            ..
        } = event
            && Some(*step_id) == id
            && service == name
        {
            begun.push_str(line);
            if !partial {
                lines.push(std::mem::take(&mut begun));
            }
        }
    }
    lines
}

/// A step begins once its services can be used, and ends them; what they print is told under it.
pub async fn a_service_runs_beside_its_step(subject: &Subject) {
    if !subject.can().runs_services {
        return;
    }
    let service = json!({
        "name": "db", "cmd": "echo one; echo ready > ready; printf two; sleep 5000",
        "health": {"cmd": "test -e ready", "interval_seconds": 0.05}, "env": {"A": "1"},
    });
    let plan = PlanWriter::of([
        StepWriter::new("one", "test -e ready || echo apart").with("services", json!([service])),
        StepWriter::new("two", "true").builds_in("one"),
    ]);
    let played = subject.passes(&plan).await;
    assert_eq!(log(&played, "one", "db"), ["one", "two"]);
    assert_eq!(
        played.output("one", StdStream::Stdout),
        "apart\n",
        "it has a machine of its own"
    );
    assert_eq!(log(&played, "two", "db"), Vec::<String>::new());
}

/// A service of a chain's scope lives on to the chain's next step.
pub async fn a_chains_service_runs_beside_all_its_steps(subject: &Subject) {
    if !subject.can().runs_services {
        return;
    }
    let service = json!({"name": "db", "cmd": "echo begun; sleep 5000", "scope": "chain"});
    let plan = PlanWriter::of([
        StepWriter::new("one", "sleep 1").with("services", json!([service])),
        StepWriter::new("two", "true").builds_in("one"),
        StepWriter::new("three", "sleep 1").builds_in("two"),
    ]);
    let played = subject.passes(&plan).await;
    let told: usize = ["one", "two", "three"]
        .map(|key| log(&played, key, "db").len())
        .iter()
        .sum();
    assert_eq!(told, 1, "it began once");
}

/// A service that ends before it can be used fails its step, which never begins.
pub async fn a_service_that_cannot_be_used_fails_its_step(subject: &Subject) {
    if !subject.can().runs_services {
        return;
    }
    let service = json!({"name": "db", "cmd": "echo no disk >&2; exit 7", "health": {"cmd": "false"}});
    let plan = PlanWriter::of([StepWriter::new("one", "echo begun").with("services", json!([service]))]);
    let played = subject.run(&plan, RunOptions::default()).await;
    assert_eq!(status(&played), BuildStatus::Failed);
    let (_, ended, message) = played.end("one").expect("it ended");
    assert_eq!(ended, Some(StepEndStatus::Failed));
    let message = message.expect("a message");
    assert!(
        message.contains("`db`") && message.contains("exit code 7"),
        "{message}"
    );
    assert_eq!(played.output("one", StdStream::Stdout), "");
    assert_eq!(log(&played, "one", "db"), ["no disk"]);
}

/// A cached step starts none of its services.
pub async fn a_cached_step_starts_no_service(subject: &Subject) {
    if !subject.can().runs_services || !subject.can().reports_cache_hits {
        return;
    }
    let service = json!({"name": "db", "cmd": "echo begun; sleep 5000"});
    let plan = PlanWriter::of([StepWriter::new("one", "true")
        .cached("forever")
        .with("services", json!([service]))]);
    subject.passes(&plan).await;
    let played = subject.passes(&plan).await;
    assert_eq!(played.steps()["one"], StepStatus::CacheHit);
    assert_eq!(log(&played, "one", "db"), Vec::<String>::new());
}

/// A cache directory is there for the next build, and in no snapshot; what a step that failed wrote is not kept.
pub async fn a_cache_directory_outlives_the_build(subject: &Subject) {
    if !subject.can().keeps_cache_directories {
        return;
    }
    let caches = json!([{"name": "deps", "path": "/var/cache/deps"}, {"name": "mods", "path": "mods"}]);
    let step = |key: &str, cmd: &str| StepWriter::new(key, cmd).with("caches", caches.clone());
    let fill = "echo one > /var/cache/deps/a; echo two > mods/b";
    subject.passes(&PlanWriter::of([step("fill", fill)])).await;
    let spoil = PlanWriter::of([step("spoil", "echo half > mods/b; exit 1")]);
    subject.run(&spoil, RunOptions::default()).await;
    let plan = PlanWriter::of([
        step("use", "cat /var/cache/deps/a; cat mods/b"),
        StepWriter::new("without", "test -e mods/b || echo bare").builds_in("use"),
    ]);
    let played = subject.passes(&plan).await;
    assert_eq!(played.output("use", StdStream::Stdout), "one\ntwo\n");
    assert_eq!(played.output("without", StdStream::Stdout), "bare\n");
}
