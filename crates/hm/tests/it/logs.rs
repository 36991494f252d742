//! `hm logs`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::harness::{FAILING, World};

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
    let world = World::failed();
    let text = world
        .hm(&["logs", "--step", "good", "--format", "plain", "--logs", "all"])
        .expect(0)
        .stdout();
    assert!(text.contains("base") && !text.contains("wanted.txt"), "{text}");
    let said = world.hm(&["logs", "--step", "godo"]).expect(2);
    assert!(said.stderr().contains("did you mean `good`?"), "{said}");
}

#[test]
fn a_run_is_followed_to_its_end() {
    let world = World::new();
    let plan = World::plan(&[(
        "a",
        "echo first-'line'; while [ ! -e /tmp/never ] && [ $((n += 1)) -le 20 ]; do sleep 0.1; done; echo last-'line'",
        None,
    )]);
    world.write("p.json", &plan);
    let mut run = world.command(&["run", "--plan", "p.json", "--format", "plain"]);
    let mut run = run.stdout(Stdio::piped()).spawn().expect("hm starts");
    let mut output = BufReader::new(run.stdout.take().expect("a pipe"));
    let mut text = String::new();
    while !text.contains("first-line") {
        assert!(
            output.read_line(&mut text).expect("hm speaks") > 0,
            "the step never started"
        );
    }
    let followed = world
        .hm(&["logs", "--follow", "--format", "plain"])
        .expect(0)
        .stdout();
    output.read_to_string(&mut text).expect("hm speaks");
    assert!(run.wait().expect("hm ends").success());
    assert!(
        text.contains("last-line") && followed == text,
        "{text}\nfollowed:\n{followed}"
    );
}

#[test]
fn quiet_says_nothing_but_failures_and_the_verdict() {
    let world = World::failed();
    let text = world.hm(&["logs", "-q", "--format", "plain"]).expect(0).stdout();
    assert!(
        text.contains("wanted.txt") && !text.contains("good passed"),
        "{text}"
    );
}

#[test]
fn junit_is_one_report_with_a_case_for_each_step() {
    let world = World::with_pipeline(FAILING);
    let report = world
        .hm(&["run", "--keep-going", "--format", "junit"])
        .expect(1)
        .stdout();
    assert!(
        report.starts_with("<?xml") && report.matches("<testcase").count() == 4,
        "{report}"
    );
}
