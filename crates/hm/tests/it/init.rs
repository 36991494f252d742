//! `hm init`, and the published program's spellings of commands.

use crate::harness::World;

#[test]
fn init_writes_a_pipeline_that_fits_the_repository_and_renders() {
    for (marker, wanted) in [
        ("Cargo.toml", "cargo test"),
        ("go.mod", "go vet"),
        ("package.json", "npm test"),
        ("pyproject.toml", "pytest"),
        ("Makefile", "make test"),
        ("README", "hello"),
    ] {
        let world = World::new();
        world.write(marker, "");
        let said = world.hm(&["init"]).expect(0);
        assert!(said.stderr().contains("`hm run`"), "{said}");
        let plan = world.hm(&["render"]).expect(0).stdout();
        assert!(plan.contains(wanted), "{marker}: {plan}");
    }
}

#[test]
fn init_makes_what_hm_run_runs() {
    let world = World::new();
    world.write(
        "Makefile",
        "all:\n\techo built > built\ntest:\n\tgrep built built\n",
    );
    world.hm(&["init"]).expect(0);
    let said = world.hm(&["run", "--format", "plain"]).expect(0);
    assert!(said.stdout().contains("test passed"), "{said}");
}

#[test]
fn init_overwrites_nothing() {
    let world =
        World::with_pipeline("import harmont as hm\n@hm.pipeline('ci')\ndef ci(): return hm.sh('true')\n");
    let before = world.listing();
    let said = world.hm(&["init"]).expect(2);
    assert!(said.stderr().contains(".hm/ci.py"), "{said}");
    assert_eq!(world.listing(), before);
}

#[test]
fn published_spellings_are_understood() {
    let world = World::with_pipeline(
        "import harmont as hm\n@hm.pipeline('ci')\ndef ci(): return hm.sh('echo here')\n",
    );
    let version = world.hm(&["version"]).expect(0).stdout();
    assert_eq!(version, world.hm(&["--version"]).expect(0).stdout());
    let repo = world.repo().display().to_string();
    let mut elsewhere = world.command(&["run", "-d", &repo, "--logs", "ci"]);
    let said = world.say(elsewhere.current_dir("/")).expect(0);
    assert!(said.stdout().contains("here"), "{said}");
    let said = world.hm(&["run", "--cloud"]).expect(2);
    assert_eq!(said.stderr(), world.hm(&["cloud", "run"]).expect(2).stderr());
    assert!(said.stderr().contains("hm cloud login"), "{said}");
}
