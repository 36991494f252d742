//! `hm run` to its end: the examples, the cache, the flags.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::harness::World;

fn cached(name: &str, steps: u64) {
    let world = World::with_example(name).with_toolchains();
    let first = world.counted(&["run"], 0);
    assert_eq!((first.of("cache_hits"), first.of("steps_run")), (0, steps));
    assert_eq!((first.of("python_started"), first.of("helpers_started")), (1, 1));
    assert!(first.of("files_copied") > 0, "the first run brings the source in");
    let second = world.counted(&["run"], 0);
    assert_eq!((second.of("cache_hits"), second.of("steps_run")), (steps, 0));
    let started = [
        "python_started",
        "files_copied",
        "sandboxes_started",
        "helpers_started",
        "commands_run",
    ];
    assert_eq!(
        started.map(|name| second.of(name)),
        [0; 5],
        "a cached run starts nothing"
    );
}

#[test]
fn the_c_example_passes_and_is_then_cached() {
    cached("c", 4);
}

#[test]
fn the_python_example_passes_and_is_then_cached() {
    cached("python", 5);
}

#[test]
fn the_rust_example_passes_and_is_then_cached() {
    cached("rust", 4);
}

#[test]
fn an_edit_runs_what_depends_on_it_over_the_cached_parent() {
    let world = World::with_example("c");
    world.hm(&["run"]).expect(0);
    let main = world.repo().join("src/main.c");
    let text = fs::read_to_string(&main)
        .expect("the source")
        .replace("%ld\\n", "= %ld\\n");
    fs::write(&main, text).expect("the source");
    let edited = world.counted(&["run", "--keep-going"], 1);
    assert_eq!(
        (edited.of("cache_hits"), edited.of("steps_run")),
        (1, 3),
        "configure does not depend on it"
    );
    let said = edited.said;
    assert!(
        said.stdout().contains("got = 7"),
        "the tests saw the new program\n{said}"
    );
}

#[test]
fn nothing_is_written_into_the_worktree() {
    let world = World::with_example("c");
    let before = world.listing();
    world.hm(&["run"]).expect(0);
    assert_eq!(world.listing(), before);
}

#[test]
fn a_plan_comes_from_a_file_or_from_standard_input() {
    let world = World::new();
    let plan = World::plan(&[("a", "echo from-the-plan", None)]);
    world.write("p.json", &plan);
    assert!(
        world
            .hm(&["run", "--plan", "p.json"])
            .expect(0)
            .stdout()
            .contains("from-the-plan")
    );
    let mut command = world.command(&["run", "--plan", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("hm starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(plan.as_bytes())
        .expect("hm reads");
    let output = child.wait_with_output().expect("hm ends");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("from-the-plan"));
}

#[test]
fn an_image_that_is_not_there_says_how_to_map_it() {
    let world = World::with_pipeline(
        "import harmont as hm\n\n@hm.pipeline(\"ci\")\ndef ci():\n    return hm.sh('echo mapped', image='ubuntu:24.04')\n",
    );
    let said = world.hm(&["run"]).expect(2);
    assert!(said.stderr().contains("--image ubuntu:24.04=host"), "{said}");
    let said = world.hm(&["run", "--image", "ubuntu:24.04=host"]).expect(0);
    assert!(said.stdout().contains("mapped"), "{said}");
    world.write(".hm/config.toml", "[images]\n\"ubuntu:24.04\" = \"host\"\n");
    world.hm(&["run"]).expect(0);
}

#[test]
fn exit_codes_tell_the_verdict() {
    let world = World::new();
    world.write("pass.json", &World::plan(&[("a", "true", None)]));
    world.write("fail.json", &World::plan(&[("a", "exit 3", None)]));
    world.write("slow.json", &World::plan(&[("a", "sleep 1000", None)]));
    world.hm(&["run", "--plan", "pass.json"]).expect(0);
    world.hm(&["run", "--plan", "fail.json"]).expect(1);
    world
        .hm(&["run", "--plan", "slow.json", "--timeout", "1s"])
        .expect(124);
    world.hm(&["run", "--plan", "pass.json", "--no-watch"]).expect(2);
}

#[test]
fn keep_going_runs_what_does_not_depend_on_the_failure() {
    let world = World::new();
    let plan = World::plan(&[
        ("bad", "exit 1", None),
        ("child", "echo child-'ran'", Some("bad")),
        ("good", "sleep 1; echo good-'ran'", None),
    ]);
    world.write("p.json", &plan);
    let said = world.hm(&["run", "--plan", "p.json", "--keep-going"]).expect(1);
    assert!(
        said.stdout().contains("good-ran") && !said.stdout().contains("child-ran"),
        "{said}"
    );
    let said = world
        .hm(&["run", "--plan", "p.json", "--parallelism", "2"])
        .expect(1);
    assert!(!said.stdout().contains("good-ran"), "{said}");
}

#[test]
fn variables_reach_the_steps() {
    let world = World::new();
    world.write(
        "p.json",
        &World::plan(&[("a", "echo \"<$GREETING> <$TAKEN>\"", None)]),
    );
    let mut command = world.command(&[
        "run",
        "--plan",
        "p.json",
        "-e",
        "GREETING=hello there",
        "-e",
        "TAKEN",
    ]);
    let said = world.say(command.env("TAKEN", "from outside")).expect(0);
    assert!(said.stdout().contains("<hello there> <from outside>"), "{said}");
}

#[test]
fn only_and_from_select_steps() {
    let world = World::new();
    let plan = World::plan(&[
        ("a", "echo ran-'a'", None),
        ("b", "echo ran-'b'", Some("a")),
        ("c", "echo ran-'c'", Some("b")),
        ("d", "echo ran-'d'", None),
    ]);
    world.write("p.json", &plan);
    world.hm(&["run", "--plan", "p.json"]).expect(0);
    let ran = |args: &[&str]| {
        let text = world.hm(args).expect(0).stdout();
        ["ran-a", "ran-b", "ran-c", "ran-d"].map(|word| text.contains(word))
    };
    assert!(ran(&["run", "--plan", "p.json", "--only", "d"]) == [false, false, false, true]);
    let from = ran(&["run", "--plan", "p.json", "--from", "b"]);
    assert!(from[1] && from[2] && !from[3], "{from:?}");
}

#[test]
fn no_cache_runs_everything() {
    let world = World::with_example("c");
    world.hm(&["run"]).expect(0);
    let again = world.counted(&["run", "--no-cache"], 0);
    assert_eq!((again.of("cache_hits"), again.of("steps_run")), (0, 4));
}

#[test]
fn git_is_in_the_source_only_when_asked() {
    let world = World::new();
    world.write(".git/HEAD", "ref: refs/heads/main\n");
    world.write("p.json", &World::plan(&[("a", "test -e .git/HEAD", None)]));
    world.hm(&["run", "--plan", "p.json"]).expect(1);
    world.hm(&["run", "--plan", "p.json", "--git"]).expect(0);
}

#[test]
fn git_of_one_step_is_in_no_other_and_in_no_other_key() {
    let world = World::with_pipeline(
        r#"
import harmont as hm


@hm.pipeline("ci")
def ci():
    version = hm.sh("git status --porcelain; git describe --tags --dirty", label="version", git=True, cache=hm.auto())
    return [
        version.sh("git rev-parse HEAD", label="child", cache=hm.auto()),
        hm.sh("test ! -e .git && test -e .hm/ci.py", label="plain", cache=hm.auto()),
    ]
"#,
    );
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(world.repo());
        assert!(git.output().expect("git runs").status.success(), "{arguments:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v1"]);
    let first = world.hm(&["run", "--format", "plain"]).expect(0);
    assert!(first.stdout().contains("[version] v1\n"), "{}", first.stdout());
    let cached = |steps: u64| {
        let run = world.counted(&["run"], 0);
        assert_eq!(run.of("cache_hits"), steps);
    };
    cached(3);
    git(&["gc", "-q"]);
    git(&["reflog", "expire", "--expire=now", "--all"]);
    cached(3);
    git(&["commit", "-q", "--allow-empty", "-m", "two"]);
    // The step that asked, and the one that builds in it, run again.
    cached(1);
    cached(3);
}

#[test]
fn watched_path_that_names_nothing_is_told() {
    let world = World::with_pipeline(
        r#"
import harmont as hm


@hm.pipeline("ci")
def ci():
    return hm.sh("true", label="a", cache=hm.on_change("no/such/file"))
"#,
    );
    let run = world.hm(&["run", "--format", "plain"]).expect(0);
    assert!(
        run.stdout()
            .contains(r#"on_change("no/such/file") of a names no file of the source"#),
        "{}",
        run.stdout()
    );
}

#[test]
fn twenty_runs_of_one_repository_at_once_all_pass() {
    let world = World::with_example("c");
    let start = |_| {
        world
            .command(&["run", "--format", "plain"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hm starts")
    };
    let children: Vec<_> = (0..20).map(start).collect();
    for child in children {
        let output = child.wait_with_output().expect("hm ends");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(
        world
            .hm(&["builds", "--json", "-n", "100"])
            .expect(0)
            .stdout()
            .lines()
            .count(),
        20
    );
}
