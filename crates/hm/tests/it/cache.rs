//! `hm cache`.

use crate::harness::World;

fn snapshots(world: &World) -> Vec<serde_json::Value> {
    let text = world.hm(&["cache", "ls", "--json"]).expect(0).stdout();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn usage(world: &World) -> serde_json::Value {
    serde_json::from_str(&world.hm(&["cache", "du", "--json"]).expect(0).stdout()).expect("JSON")
}

#[test]
fn the_snapshots_of_a_run_are_listed_measured_and_removed() {
    let world = World::with_example("c");
    world.hm(&["run"]).expect(0);
    // The tests write nothing: what they leave is what they started from.
    assert_eq!(snapshots(&world).len(), 2);
    assert_eq!(usage(&world)["snapshots"], 2);
    assert!(usage(&world)["bytes"].as_u64().expect("bytes") > 0);
    let table = world.hm(&["cache", "ls"]).expect(0).stdout();
    assert!(
        table.starts_with("STEP ") && table.contains("cache hits"),
        "{table}"
    );
    for snapshot in snapshots(&world) {
        assert_eq!(snapshot["pipeline"], "ci");
        assert_eq!(snapshot["repository"], world.repo().display().to_string());
        assert!(
            snapshot["step"].is_string() && snapshot["bytes"].is_u64(),
            "{snapshot}"
        );
    }
    let said = world.hm(&["cache", "clean"]).expect(0);
    assert!(said.stdout().starts_with("removed 2 snapshots"), "{said}");
    assert_eq!(
        (snapshots(&world).len(), usage(&world)["snapshots"].as_u64()),
        (0, Some(0))
    );
    let again = world.counted(&["run"], 0);
    assert_eq!((again.of("cache_hits"), again.of("steps_run")), (0, 4));
}

#[test]
fn prune_goes_down_to_the_budget() {
    let world = World::new();
    let write = |name: &str| format!("head -c 3000000 /dev/urandom > {name}");
    let (one, two, three) = (write("1"), write("2"), write("3"));
    world.write(
        "p.json",
        &World::plan(&[("a", &one, None), ("b", &two, None), ("c", &three, None)]),
    );
    world.hm(&["run", "--plan", "p.json"]).expect(0);
    world.hm(&["cache", "prune", "--budget", "100MB"]).expect(0);
    assert_eq!(snapshots(&world).len(), 3);
    world.hm(&["cache", "prune", "--budget", "4MB"]).expect(0);
    assert_eq!(snapshots(&world).len(), 1);
    assert!(usage(&world)["bytes"].as_u64().expect("bytes") <= 4_000_000);
}

#[test]
fn without_a_run_there_is_nothing() {
    let world = World::new();
    assert_eq!(snapshots(&world).len(), 0);
    assert_eq!(usage(&world)["snapshots"], 0);
    world.hm(&["cache", "clean"]).expect(0);
}
