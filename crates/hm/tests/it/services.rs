//! A real PostgreSQL beside the steps, on both backends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use hm_docker::testing::{Dockerd, Reach};
use serde_json::{Value, json};

use crate::harness::{Said, World};

/// A Debian with PostgreSQL, as `docker save` writes it. Made once, by the first test that needs it: it takes a
/// minute.
fn image() -> PathBuf {
    let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-15-image.tar");
    let lock = File::create(image.with_extension("lock")).expect("a lock");
    lock.lock().expect("a lock");
    if !image.exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/postgres.sh");
        let mut sh = Command::new("sh");
        let made = sh.arg(script).arg(&image).output().expect("sh");
        assert!(
            made.status.success(),
            "this test needs mmdebstrap: apt-get install -y mmdebstrap\n{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    image
}

/// What the plans call it: a plan cannot name a path outside of its source, a repository's configuration can.
const IMAGE: &str = "postgres:15";

/// A repository in which the image stands in for that name.
fn with_image() -> World {
    let world = World::new();
    let config = format!("[images]\n\"{IMAGE}\" = \"{}\"\n", image().display());
    world.write(".hm/config.toml", &config);
    world
}

/// What asks the database, as the name of its service and its own `localhost` lead to it.
const ASK: &str = "psql -X -A -t -U postgres";

/// A plan over the image; `db` is on the first step. `tables` is in its chain, and makes what `reads` finds
/// when the service lives as long as the chain.
fn plan(scope: &str, first: &str, then: &str) -> String {
    let steps = [("tables", first, None), ("reads", then, Some("tables"))];
    let mut plan: Value = serde_json::from_str(&World::plan(&steps)).expect("JSON");
    plan["default_image"] = IMAGE.into();
    plan["graph"]["nodes"][0]["step"]["services"] = json!([{
        "name": "db",
        "scope": scope,
        "image": IMAGE,
        "health": {"cmd": "pg_isready -h localhost", "interval_seconds": 1, "timeout_seconds": 60},
    }]);
    plan.to_string()
}

/// Runs `hm` on one of the backends.
type Run<'a> = &'a dyn Fn(&World, &[&str]) -> Said;

fn steps_reach_it_and_it_is_stopped(run: Run<'_>) {
    let world = with_image();
    let first = format!("{ASK} -h db -c \"create table t as select 6 * 7 as answer\"; id -u");
    let then = format!("echo answer-is-$({ASK} -h localhost -c 'select answer from t')");
    world.write("chain.json", &plan("chain", &first, &then));
    let said = run(&world, &["run", "--plan", "chain.json", "--network", "none"]).expect(0);
    assert!(said.stdout().contains("answer-is-42"), "{said}");

    // The data of a run are gone with it, and a step's service with the step.
    let gone = format!("if {ASK} -h db -c 'select 1' 2>/dev/null; then echo still-there; fi");
    let words = "select 'from ' || 'postgres'";
    let first = format!("{ASK} -h db -c 'create table t (n int)' && {ASK} -h db -c \"{words}\"");
    world.write("step.json", &plan("step", &first, &gone));
    let said = run(&world, &["run", "--plan", "step.json", "--no-cache"]).expect(0);
    assert!(said.stdout().contains("from postgres"), "{said}");
    assert!(!said.stdout().contains("still-there"), "{said}");
}

fn its_log_is_shown_when_the_step_fails(run: Run<'_>) {
    let world = with_image();
    let wrong = format!("{ASK} -h db -c 'select nothing from nowhere'");
    world.write("p.json", &plan("step", &wrong, "true"));
    let said = run(&world, &["run", "--plan", "p.json", "--logs", "failed"]).expect(1);
    assert!(
        said.stdout().contains("relation \"nowhere\" does not exist"),
        "{said}"
    );
    assert!(
        said.stdout().contains("STATEMENT:  select nothing from nowhere"),
        "the server's own words: {said}"
    );
}

#[test]
fn a_database_beside_steps_in_the_sandbox() {
    let run = |world: &World, args: &[&str]| world.hm(args);
    steps_reach_it_and_it_is_stopped(&run);
    its_log_is_shown_when_the_step_fails(&run);
}

#[test]
fn a_database_beside_steps_on_docker() {
    let daemon = Dockerd::start(Reach::Localhost);
    let run = |world: &World, args: &[&str]| {
        let mut command = world.command(args);
        command
            .env("DOCKER_HOST", daemon.host())
            .env("HM_BACKEND", "docker");
        world.say(&mut command)
    };
    steps_reach_it_and_it_is_stopped(&run);
    its_log_is_shown_when_the_step_fails(&run);
    assert_eq!(
        daemon.docker(&["ps", "--all", "--quiet"]),
        "",
        "no container is left"
    );
}
