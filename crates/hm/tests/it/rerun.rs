//! `hm rerun`.

use crate::harness::{Said, World};

#[test]
fn rerun_from_a_step_starts_from_its_clean_parent_over_todays_source() {
    let world = World::failed();
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
    let world = World::failed();
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
