//! `hm pipelines`, and which pipeline a name means.

use insta::assert_snapshot;

use crate::harness::World;

const TWO: &str = r#"
import harmont as hm

@hm.pipeline("ci", name="Everything")
def ci():
    return hm.sh("true", key="one")

@hm.pipeline("release", triggers=[hm.push(branch="main")])
def release():
    return hm.sh("a", key="a").sh("b", key="b")
"#;

#[test]
fn they_are_listed() {
    let world = World::with_pipeline(TWO);
    assert_snapshot!(world.hm(&["pipelines"]), @r"
    exit 0
    --- stdout
    PIPELINE  STEPS  NAME
    ci        1      Everything
    release   2      release
    --- stderr
    ");
    assert_snapshot!(world.hm(&["pipelines", "--json"]), @r#"
    exit 0
    --- stdout
    {"slug":"ci","name":"Everything","allow_manual":true,"triggers":[]}
    {"slug":"release","name":"release","allow_manual":true,"triggers":[{"event":"push","branches":["main"]}]}
    --- stderr
    "#);
}

#[test]
fn of_several_one_has_to_be_named() {
    let world = World::with_pipeline(TWO);
    assert_snapshot!(world.hm(&["graph"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: there is more than one pipeline: say which
    hint: the pipelines: ci, release
    ");
    assert_snapshot!(world.hm(&["graph", "relaese"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: there is no pipeline `relaese`
    hint: did you mean `release`?
    ");
    world.hm(&["graph", "release"]).expect(0);
}

#[test]
fn an_exception_shows_the_authors_line() {
    let world = World::with_pipeline(
        "import harmont as hm\n\n@hm.pipeline(\"ci\")\ndef ci():\n    return hm.sh(1 / 0)\n",
    );
    let said = world.hm(&["render"]).expect(2);
    assert!(
        said.stderr().contains("ci.py") && said.stderr().contains("1 / 0"),
        "{said}"
    );
}

#[test]
fn a_variable_given_by_e_is_seen_by_the_pipeline() {
    let text = "import os\nimport harmont as hm\n\n@hm.pipeline(\"ci\")\ndef ci():\n    return hm.sh('echo ' + os.environ['GREETING'])\n";
    let world = World::with_pipeline(text);
    assert!(
        world
            .hm(&["render", "-e", "GREETING=hello"])
            .expect(0)
            .stdout()
            .contains("echo hello")
    );
    assert!(
        world
            .hm(&["render", "-e", "GREETING=bye"])
            .expect(0)
            .stdout()
            .contains("echo bye")
    );
}

#[test]
fn a_pipeline_is_found_from_a_directory_below() {
    let world = World::with_pipeline(TWO);
    world.write("deep/down/file", "");
    let mut command = world.command(&["pipelines"]);
    world
        .say(command.current_dir(world.repo().join("deep/down")))
        .expect(0);
}
