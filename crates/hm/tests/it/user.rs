//! The same as an ordinary user: when the tests run as root, as one without a name or a home.

use std::process::Command;

use crate::harness::World;

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id");
    output.stdout == b"0\n"
}

/// `hm` as somebody without privileges, whose files lie in the test's own place.
pub fn as_user(world: &World, args: &[&str]) -> Command {
    let hm = world.command(args);
    if !is_root() {
        return hm;
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=64321",
        "--regid=64321",
        "--clear-groups",
        "--no-new-privs",
    ]);
    command
        .arg(world.program())
        .args(args)
        .current_dir(world.repo())
        .env_clear();
    for (name, value) in hm.get_envs() {
        command.env(name, value.expect("a value"));
    }
    command
}

/// An example that belongs to whoever [`as_user`] is.
pub fn owned(name: &str) -> World {
    let world = World::with_example(name);
    if is_root() {
        let given = Command::new("chown")
            .args(["-R", "64321:64321"])
            .arg(world.path())
            .status()
            .expect("chown");
        assert!(given.success());
    }
    world
}

#[test]
fn an_ordinary_user_runs_the_example_and_looks_into_it() {
    let world = owned("c");
    world.say(&mut as_user(&world, &["run"])).expect(0);
    let again = world.say(&mut as_user(&world, &["run"])).expect(0);
    assert!(again.stdout().contains("cached"), "{again}");
    let said = world
        .say(&mut as_user(
            &world,
            &["shell", "build", "--", "./build/calc", "6 * 7"],
        ))
        .expect(0);
    assert_eq!(said.stdout(), "42\n");
    world.say(&mut as_user(&world, &["cache", "clean"])).expect(0);
    assert_eq!(world.hm(&["cache", "ls", "--json"]).expect(0).stdout(), "");
}

#[test]
fn an_ordinary_user_has_root_inside_and_not_outside() {
    let world = owned("c");
    world.write(
        "p.json",
        &World::plan(&[("a", "id -u; mkdir /made-here && ls -d /made-here", None)]),
    );
    let said = world
        .say(&mut as_user(&world, &["run", "--plan", "p.json"]))
        .expect(0);
    assert!(said.stdout().contains("/made-here"), "{said}");
    assert!(!std::path::Path::new("/made-here").exists());
}
