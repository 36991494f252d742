//! `hm builds`, and the records behind it.

use crate::harness::World;

#[test]
fn builds_lists_the_runs_the_newest_first() {
    let world = World::failed();
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
fn the_record_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::failed();
    let run = world.data().join("runs").join(world.newest());
    for file in ["run.json", "plan.json", "events.jsonl"] {
        let mode = std::fs::metadata(run.join(file))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}

#[test]
fn the_newest_two_hundred_are_kept() {
    let world = World::new();
    world.write("p.json", &World::plan(&[("a", "true", None)]));
    world.hm(&["run", "--plan", "p.json"]).expect(0);
    let runs = world.data().join("runs");
    let first = runs.join(world.newest());
    for number in 0..250 {
        let copy = runs.join(format!("{number:08}-0000-4000-8000-000000000000"));
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(&first)
            .arg(copy)
            .status()
            .expect("cp");
        assert!(copied.success());
    }
    world.hm(&["run", "--plan", "p.json"]).expect(0);
    assert_eq!(std::fs::read_dir(&runs).expect("the runs").count(), 200);
    assert!(runs.join(world.newest()).is_dir());
}
