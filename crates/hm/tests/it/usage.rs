//! Wrong command lines: exit code 2, and a word about what would be right.

use insta::assert_snapshot;

use crate::harness::World;

#[test]
fn outside_a_repository_it_says_so() {
    let world = World::new();
    let mut command = world.command(&["run"]);
    let said = world.say(command.current_dir(world.path()));
    assert_snapshot!(said, @r"
    exit 2
    --- stdout
    --- stderr
    error: no repository: neither .hm nor .git at or above [TMP]
    hint: go to one, or name it with --dir
    ");
}

#[test]
fn a_repository_without_pipelines_says_how_to_write_one() {
    let world = World::new();
    assert_snapshot!(world.hm(&["run"]), @r#"
    exit 2
    --- stdout
    --- stderr
    error: there is no pipeline in [TMP]/repo: no .hm/*.py
    hint: write .hm/ci.py, with `import harmont as hm` and a function under @hm.pipeline("ci")
    "#);
}

#[test]
fn a_plan_that_is_none_is_refused() {
    let world = World::new();
    world.write("plan.json", "{}");
    assert_snapshot!(world.hm(&["run", "--plan", "plan.json"]), @r#"
    exit 2
    --- stdout
    --- stderr
    error: plan.json: the plan says no version: this hm runs plans with "version": "0"; update hm, or the package that emitted the plan
    "#);
    assert_snapshot!(world.hm(&["run", "--plan", "missing.json"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: cannot read missing.json: No such file or directory (os error 2)
    ");
}

#[test]
fn a_variable_that_the_environment_lacks_is_refused() {
    let world = World::new();
    assert_snapshot!(world.hm(&["run", "-e", "TOKEN"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: -e TOKEN: the environment has no variable of that name
    hint: set it here with `-e TOKEN=VALUE`
    ");
    assert_snapshot!(world.hm(&["run", "-e", "=value"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: -e =value: a variable needs a name
    ");
}

#[test]
fn a_step_that_is_not_there_is_refused() {
    let world = World::with_example("c");
    assert_snapshot!(world.hm(&["run", "--from", "biuld"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: the plan has no step `biuld`
    hint: did you mean `build`?
    ");
    assert_snapshot!(world.hm(&["run", "--only", "deploy"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: the plan has no step `deploy`
    hint: its steps: configure, build, test, smoke
    ");
}

#[test]
fn wrong_values_are_refused() {
    let world = World::new();
    world.hm(&["run", "--timeout", "soon"]).expect(2);
    world.hm(&["run", "--timeout", "0"]).expect(2);
    world.hm(&["run", "--image", "ubuntu"]).expect(2);
    world.hm(&["run", "--parallelism", "0"]).expect(2);
    world.hm(&["run", "--format", "xml"]).expect(2);
    world.hm(&["run", "--backend", "cray"]).expect(2);
    world.hm(&["run", "--only", "a", "--from", "b"]).expect(2);
    world.hm(&["frobnicate"]).expect(2);
    world.hm(&["--dir", "missing", "run"]).expect(2);
}

#[test]
fn without_a_recorded_run_the_commands_over_them_say_so() {
    let world = World::new();
    assert_snapshot!(world.hm(&["logs"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: no run of this repository is recorded
    hint: `hm run` makes one
    ");
    assert_snapshot!(world.hm(&["shell", "build"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: no run of this repository is recorded
    hint: `hm run` makes one
    ");
    assert_snapshot!(world.hm(&["rerun", "12345678"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: no recorded run begins with `12345678`
    hint: `hm builds --all` lists them
    ");
    assert_snapshot!(world.hm(&["builds"]), @r"
    exit 0
    --- stdout
    --- stderr
    no run is recorded; `hm run` makes one
    ");
}
