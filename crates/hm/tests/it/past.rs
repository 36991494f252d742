//! What is left of a run: `hm logs`, `hm builds`, `hm rerun`, `hm shell`.

use std::io::Write;
use std::process::Stdio;

use crate::harness::{Said, World};

const FAILING: &str = r#"
import harmont as hm

@hm.pipeline("ci")
def ci():
    base = hm.sh("echo base > base.txt", key="base")
    bad = base.sh("echo left > left.txt; cat wanted.txt", key="bad")
    return [bad.sh("cat left.txt wanted.txt", key="after"), base.sh("cat base.txt", key="good")]
"#;

fn failed() -> World {
    let world = World::with_pipeline(FAILING);
    world.hm(&["run", "--keep-going"]).expect(1);
    world
}

#[test]
fn logs_play_a_run_again_as_it_was() {
    let world = World::with_pipeline(FAILING);
    for format in ["plain", "json", "human"] {
        let run = world
            .hm(&["run", "--keep-going", "--format", format])
            .expect(1)
            .stdout();
        let logs = world.hm(&["logs", "--format", format]).expect(0).stdout();
        assert!(
            run == logs,
            "{format}: the run said\n{run}\nand its record\n{logs}"
        );
    }
    let junit = world.hm(&["logs", "--format", "junit"]).expect(0).stdout();
    assert!(junit.contains("<testsuite") && junit.contains("bad"), "{junit}");
}

#[test]
fn logs_of_one_step_leave_the_others_out() {
    let world = failed();
    let text = world
        .hm(&["logs", "--step", "good", "--format", "plain", "--logs", "all"])
        .expect(0)
        .stdout();
    assert!(text.contains("base") && !text.contains("wanted.txt"), "{text}");
    let said = world.hm(&["logs", "--step", "godo"]).expect(2);
    assert!(said.stderr().contains("did you mean `good`?"), "{said}");
}

#[test]
fn builds_lists_the_runs_the_newest_first() {
    let world = failed();
    world.write("wanted.txt", "wanted\n");
    world.hm(&["run"]).expect(0);
    let lines: Vec<serde_json::Value> = world
        .hm(&["builds", "--json"])
        .expect(0)
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let statuses: Vec<_> = lines
        .iter()
        .map(|line| line["status"].as_str().expect("a status"))
        .collect();
    assert_eq!(statuses, ["passed", "failed"]);
    let table = world.hm(&["builds"]).expect(0).stdout();
    assert!(table.starts_with("RUN ") && table.lines().count() == 3, "{table}");
}

#[test]
fn a_shell_finds_what_the_failed_step_left_and_before_it_does_not() {
    let world = failed();
    let cat = |target: &str| world.hm(&["shell", target, "--", "cat", "base.txt", "left.txt"]);
    assert_eq!(cat("bad").expect(0).stdout(), "base\nleft\n");
    assert_eq!(cat("bad@after").expect(0).stdout(), "base\nleft\n");
    assert_eq!(cat("bad@before").expect(1).stdout(), "base\n");
    cat("base@before").expect(1);
    let said = cat("after").expect(2);
    assert!(said.stderr().contains("left nothing"), "{said}");
}

#[test]
fn a_shell_reads_its_commands_from_a_pipe_and_passes_the_exit_code_on() {
    let world = failed();
    let mut command = world.command(&["shell", "bad"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("hm starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"cat left.txt\nexit 7\n")
        .expect("hm reads");
    let output = child.wait_with_output().expect("hm ends");
    assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"left\n"[..]));
}

#[test]
fn a_shell_in_a_past_run_sees_the_source_of_then() {
    let world = failed();
    let run = newest(&world);
    world.write("wanted.txt", "wanted\n");
    world.hm(&["run"]).expect(0);
    let short = run.get(..8).expect("an id");
    let target = format!("{short}/bad");
    world.hm(&["shell", &target, "--", "cat", "wanted.txt"]).expect(1);
    let today = world
        .hm(&["shell", "--today", &target, "--", "cat", "wanted.txt"])
        .expect(0);
    assert_eq!(today.stdout(), "wanted\n");
}

#[test]
fn rerun_from_a_step_starts_from_its_clean_parent_over_todays_source() {
    let world = failed();
    world.write("wanted.txt", "wanted\n");
    let ran = said_keys(
        &world
            .hm(&["rerun", "--from", "bad", "--format", "json"])
            .expect(0),
    );
    assert_eq!(ran, ["bad", "after"]);
}

#[test]
fn rerun_failed_runs_what_had_not_passed() {
    let world = failed();
    world.write("wanted.txt", "wanted\n");
    let ran = said_keys(&world.hm(&["rerun", "--failed", "--format", "json"]).expect(0));
    assert_eq!(ran, ["bad", "after"]);
    let said = world.hm(&["rerun", "--failed"]).expect(2);
    assert!(said.stderr().contains("no step of run"), "{said}");
}

#[test]
fn rerun_repeats_the_variables_and_the_plan_of_then() {
    let world = World::new();
    world.write("p.json", &World::plan(&[("a", "echo \"<$GREETING>\"", None)]));
    world
        .hm(&["run", "--plan", "p.json", "-e", "GREETING=hello"])
        .expect(0);
    std::fs::remove_file(world.repo().join("p.json")).expect("the plan");
    assert!(world.hm(&["rerun"]).expect(0).stdout().contains("<hello>"));
}

#[test]
fn the_record_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = failed();
    let run = world.data().join("runs").join(newest(&world));
    for file in ["run.json", "plan.json", "events.jsonl"] {
        let mode = std::fs::metadata(run.join(file))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}

/// The newest run's id.
fn newest(world: &World) -> String {
    let text = world.hm(&["builds", "--json", "-n", "1"]).expect(0).stdout();
    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    line["run_id"].as_str().expect("an id").to_owned()
}

/// The keys of the steps that ran, in the order of their starts.
fn said_keys(said: &Said) -> Vec<String> {
    let events: Vec<serde_json::Value> = said
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let key_of = |id: &serde_json::Value| {
        let queued = events
            .iter()
            .find(|event| event["kind"] == "step_queued" && event["step_id"] == *id);
        queued.expect("queued first")["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    events
        .iter()
        .filter(|event| event["kind"] == "step_start")
        .map(|event| key_of(&event["step_id"]))
        .collect()
}
