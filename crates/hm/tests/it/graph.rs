//! `hm graph` and `hm render`.

use insta::assert_snapshot;

use crate::harness::World;

const PIPELINE: &str = r#"
import harmont as hm

@hm.pipeline("ci")
def ci():
    build = hm.sh("make", label="build", cache=hm.auto()).sh("make more", label="more")
    test, lint = build.sh("make test", key="test"), build.sh("make lint", key="lint").sh("deeper", key="deeper")
    return [test, lint, hm.wait(), hm.sh("./deploy", label="Ship it", key="deploy", image="ubuntu:24.04")]
"#;

#[test]
fn it_draws_what_builds_in_what_and_says_what_waits() {
    assert_snapshot!(World::with_pipeline(PIPELINE).hm(&["graph"]), @r"
    exit 0
    --- stdout
    ci: 6 steps, 3 chains
    build         cache auto                             make
    ↓ more                                               make more
    ├── test                                             make test
    └── lint                                             make lint
        ↓ deeper                                         deeper
    deploy        from ubuntu:24.04; after test, deeper  Ship it
    --- stderr
    ");
}

#[test]
fn without_unicode_it_draws_in_ascii() {
    let world = World::with_pipeline(PIPELINE);
    let mut command = world.command(&["graph"]);
    let said = world.say(command.env("LANG", "C"));
    assert!(
        said.stdout().is_ascii() && said.stdout().contains("`-- "),
        "{said}"
    );
}

#[test]
fn a_plan_is_rendered_byte_for_byte() {
    let world = World::new();
    let plan = r#"{ "version":"0",  "unknown": [1,2], "graph": {"nodes":[{"step":{"key":"a","cmd":"true","x":"\u00e9"},"env":{}}],"node_holes":[],"edge_property":"directed","edges":[]}} "#;
    world.write("plan.json", plan);
    assert_eq!(
        world.hm(&["render", "--plan", "plan.json"]).expect(0).stdout(),
        plan
    );
}

#[test]
fn a_long_command_is_cut_with_a_mark() {
    let world = World::with_pipeline(
        "import harmont as hm\n@hm.pipeline('ci')\ndef ci():\n    return hm.sh('echo ' + 'x' * 200, label='long', cache=hm.auto())\n",
    );
    let said = world.hm(&["graph"]).expect(0).stdout().to_owned();
    let line = said.lines().last().expect("a line");
    assert!(
        line.starts_with("long  cache auto  echo xxx") && line.ends_with("x…"),
        "{line}"
    );
    assert_eq!(line.chars().count(), 100);
}
