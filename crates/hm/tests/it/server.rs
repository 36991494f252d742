//! `hm server`: how it is told where it is, and how long to keep things.

use crate::harness::World;

#[test]
fn a_server_that_nobody_could_reach_does_not_start() {
    let world = World::new();
    let words = world.hm(&["server", "--listen", "0.0.0.0:0"]).expect(2).stderr();
    assert!(words.contains("--public-url"), "{words}");
    assert!(!world.path().join("data/server/hm.sqlite").exists());
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let world = World::new();
    for (args, word) in [
        (["--trust-proxy", "10.0.0.0/64"], "10.0.0.0/8"),
        (["--trust-proxy", "proxy.example.org"], "10.0.0.0/8"),
        (["--keep-logs", "90d"], "--keep-logs"),
        (["--source-budget", "much"], "20GiB"),
    ] {
        let words = world.hm(&["server", args[0], args[1]]).expect(2).stderr();
        assert!(words.contains(word), "{args:?}: {words}");
    }
    let words = world
        .hm(&["server", "token", "--email", "me@example.org", "--org", "api"])
        .expect(2)
        .stderr();
    assert!(words.contains("cannot be called `api`"), "{words}");
}
