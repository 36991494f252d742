//! How a step's command is run: its shell, its variables, what it knows of the source.

use std::process::Command;

use crate::harness::World;

fn with(steps: &str) -> World {
    World::with_pipeline(&format!(
        "import harmont as hm\n\n\n@hm.pipeline('ci')\ndef ci():\n    return [{steps}]\n"
    ))
}

#[test]
fn failing_line_in_the_middle_fails_the_step() {
    for step in [
        r"hm.sh('false\ntrue')",
        r"hm.sh('tests/missing.sh\necho done')",
        r"hm.sh('false | tee log', shell='bash')",
        r"hm.sh('echo a; echo b', cwd='missing')",
    ] {
        with(step).hm(&["run"]).expect(1);
    }
    with(r"hm.sh('false\ntrue', shell='sh +e')")
        .hm(&["run"])
        .expect(0);
}

#[test]
fn plan_without_a_shell_runs_as_published() {
    let world = World::new();
    world.write(
        "p.json",
        &World::plan(&[("a", "false\ntrue", None), ("b", "-x || true", None)]),
    );
    world.hm(&["run", "--plan", "p.json"]).expect(0);
}

#[test]
fn variable_that_sh_drops_is_refused_and_bash_hands_it_on() {
    let env = "env={'app.mode': 'ci'}";
    let said = with(&format!("hm.sh('true', key='dotted', {env})"))
        .hm(&["run"])
        .expect(2);
    assert!(
        said.stderr().contains("step `dotted`") && said.stderr().contains("\"app.mode\""),
        "{said}"
    );
    with(&format!(
        "hm.sh(\"env | grep '^app.mode=ci$'\", shell='bash', {env})"
    ))
    .hm(&["run"])
    .expect(0);
    let said = with("hm.sh('true', key='plain')")
        .hm(&["run", "-e", "app.mode=ci"])
        .expect(2);
    assert!(
        said.stderr().contains("step `plain`") && said.stderr().contains("\"app.mode\""),
        "{said}"
    );
}

#[test]
fn step_and_pipeline_file_know_branch_commit_and_tag() {
    let world = with(concat!(
        "hm.sh('test \"$CI $HM_BRANCH $HM_COMMIT $HM_TAG\" = \"true ' + f'{hm.branch()} {hm.commit()} {hm.tag()}' + '\"\\n'",
        " 'test -n \"$HM_RUN_ID\"; echo \"on $HM_BRANCH at ${HM_TAG-no tag}\"')"
    ));
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let output = command
            .current_dir(world.repo())
            .args(identity)
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git");
        assert!(output.status.success(), "git {args:?}");
    };
    let run = |args: &[&str]| {
        let args: Vec<&str> = ["run", "--format", "plain"].iter().chain(args).copied().collect();
        world.hm(&args).expect(0).stdout()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "First"]);
    git(&["tag", "v1"]);
    assert!(run(&[]).contains("on main at v1"));
    git(&["tag", "--annotate", "--message", "Second", "v2"]);
    assert!(run(&[]).contains("on main at v2"));
    git(&["pack-refs", "--all"]);
    git(&["checkout", "--quiet", "-b", "topic"]);
    assert!(run(&[]).contains("on topic at v2"));
    assert!(run(&["--branch", "other"]).contains("on other at v2"));
}

#[test]
fn what_a_step_knows_of_the_source_is_in_no_cache_key() {
    let world = with("hm.sh('echo $HM_RUN_ID $HM_BRANCH', key='a', cache=hm.auto())");
    world.hm(&["run", "--branch", "one"]).expect(0);
    let said = world
        .hm(&["run", "--branch", "two", "--format", "plain"])
        .expect(0);
    assert!(said.stdout().contains("1 cached"), "{said}");
}

#[test]
fn rerun_takes_todays_pipeline_where_it_has_the_step() {
    let file = |cmd: &str, key: &str| {
        format!(
            "import harmont as hm\n@hm.pipeline('ci')\ndef ci():\n    base = hm.sh('echo base', key='base')\n    \
             return base.sh('{cmd}', key='{key}')\n"
        )
    };
    let world = World::with_pipeline(&file("false", "test"));
    world.hm(&["run"]).expect(1);
    world.write(".hm/ci.py", &file("echo mended", "test"));
    world.hm(&["rerun", "--from", "test", "--as-recorded"]).expect(1);
    let said = world.hm(&["rerun", "--from", "test"]).expect(0);
    assert!(said.stderr().contains("today's"), "{said}");

    world.write(".hm/ci.py", &file("false", "test"));
    world.hm(&["run"]).expect(1);
    world.write(".hm/ci.py", &file("true", "check"));
    let said = world.hm(&["rerun", "--failed"]).expect(1);
    assert!(said.stderr().contains("has no step `test` any more"), "{said}");
}
