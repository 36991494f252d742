//! `hm completions` and `hm man`.

use crate::harness::World;

#[test]
fn every_shell_gets_a_script_that_names_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.hm(&["completions", shell]).expect(0).stdout();
        for command in ["rerun", "doctor", "pipelines"] {
            assert!(script.contains(command), "{shell}: no {command}");
        }
    }
}

#[test]
fn bash_takes_its_script() {
    let world = World::new();
    let script = world.path().join("hm.bash");
    std::fs::write(&script, world.hm(&["completions", "bash"]).expect(0).stdout()).expect("a file");
    let status = std::process::Command::new("bash")
        .arg("-n")
        .arg(&script)
        .status()
        .expect("bash");
    assert!(status.success());
}

#[test]
fn the_manual_page_has_every_command_and_the_exit_codes() {
    let page = World::new().hm(&["man"]).expect(0).stdout();
    for needed in [
        ".TH hm 1",
        "HM RUN",
        "HM SHELL",
        "HM CACHE",
        "\\-\\-keep\\-going",
        "130 canceled",
    ] {
        assert!(page.contains(needed), "no {needed}");
    }
}
