//! `hm shell`.

use std::io::{BufReader, Read, Write};
use std::process::{Command, Stdio};

use crate::harness::World;

#[test]
fn a_shell_finds_what_the_failed_step_left_and_before_it_does_not() {
    let world = World::failed();
    let cat = |target: &str| world.hm(&["shell", target, "--", "cat", "base.txt", "left.txt"]);
    assert_eq!(cat("bad").expect(0).stdout(), "base\nleft\n");
    assert_eq!(cat("bad@after").expect(0).stdout(), "base\nleft\n");
    assert_eq!(cat("bad@before").expect(1).stdout(), "base\n");
    cat("base@before").expect(1);
    let said = cat("after").expect(2);
    assert!(said.stderr().contains("left nothing"), "{said}");
}

#[test]
fn a_shell_reads_its_commands_from_a_pipe_and_passes_the_exit_code_on() {
    let world = World::failed();
    let mut command = world.command(&["shell", "bad"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("hm starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"cat left.txt\nexit 7\n")
        .expect("hm reads");
    let output = child.wait_with_output().expect("hm ends");
    assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"left\n"[..]));
}

#[test]
fn a_shell_in_a_past_run_sees_the_source_of_then() {
    let world = World::failed();
    let run = world.newest();
    world.write("wanted.txt", "wanted\n");
    world.hm(&["run"]).expect(0);
    let short = run.get(..8).expect("an id");
    let target = format!("{short}/bad");
    world.hm(&["shell", &target, "--", "cat", "wanted.txt"]).expect(1);
    let today = world
        .hm(&["shell", "--today", &target, "--", "cat", "wanted.txt"])
        .expect(0);
    assert_eq!(today.stdout(), "wanted\n");
}

#[test]
fn on_a_terminal_it_is_interactive_and_leaves_the_terminal_as_it_was() {
    let world = World::failed();
    // `script` gives the command inside a terminal of its own.
    let inside = format!(
        "{} shell bad; echo code=$?; stty -a | grep -o -e '-\\?icanon'",
        env!("CARGO_BIN_EXE_hm")
    );
    let hm = world.command(&[]);
    let mut script = Command::new("script");
    script
        .args(["-qec", &inside, "/dev/null"])
        .current_dir(world.repo())
        .env_clear();
    for (name, value) in hm.get_envs() {
        script.env(name, value.expect("a value"));
    }
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let mut keys = child.stdin.take().expect("a pipe");
    let mut screen = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut seen = String::new();
    wait_for(&mut screen, &mut seen, "/workspace #");
    keys.write_all(b"cat left.txt; echo size $(stty size | wc -w)\nexit 9\n")
        .expect("keys");
    wait_for(&mut screen, &mut seen, "icanon");
    drop(keys);
    assert!(child.wait().expect("script ends").success(), "{seen}");
    assert!(seen.contains("bad@after"), "the prompt tells the step: {seen}");
    assert!(seen.contains("\nleft") && seen.contains("size 2"), "{seen}");
    assert!(seen.contains("code=9") && !seen.contains("-icanon"), "{seen}");
}

/// Reads a screen until a word is on it.
fn wait_for(screen: &mut impl Read, seen: &mut String, word: &str) {
    let mut buffer = [0; 1024];
    while !seen.contains(word) {
        let count = screen.read(&mut buffer).expect("the screen");
        assert!(count > 0, "{word:?} never came:\n{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[test]
fn a_key_that_ends_like_a_moment_is_the_step_of_that_name() {
    let world = World::with_pipeline(
        "import harmont as hm\n@hm.pipeline('ci')\ndef ci():\n    return hm.sh('touch made', key='it@before')\n",
    );
    world.hm(&["run"]).expect(0);
    assert_eq!(
        world
            .hm(&["shell", "it@before", "--", "ls", "made"])
            .expect(0)
            .stdout(),
        "made\n"
    );
    world
        .hm(&["shell", "it@before@before", "--", "ls", "made"])
        .expect(2);
}

#[test]
fn one_address_names_a_step_in_every_command() {
    let world = World::failed();
    let run = world.newest();
    let run = run.get(..8).expect("an id");
    for moment in ["", "@before", "@after"] {
        for address in [format!("bad{moment}"), format!("{run}/bad{moment}")] {
            let logs = world.hm(&["logs", &address]).expect(0).stdout();
            assert!(logs.contains("wanted.txt"), "{address}: {logs}");
            world.hm(&["artifacts", &address]).expect(0);
            world.hm(&["shell", &address, "--", "cat", "base.txt"]).expect(0);
            for rerun in [&["rerun", &address][..], &["rerun", "--from", &address]] {
                let said = world.hm(rerun).expect(1);
                assert!(said.stdout().contains("1 failed"), "{address}: {said}");
            }
        }
    }
}
