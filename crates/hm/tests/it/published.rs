//! `--format json`, read by a program that was built with the published event types.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::World;

/// The reader, built once: Cargo itself has the others wait.
fn reader() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/published/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--manifest-path",
            manifest,
            "--target-dir",
        ])
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("debug/published-reader")
}

/// What the reader understood of these lines.
#[track_caller]
fn read(lines: &str) -> String {
    let mut reader = Command::new(reader())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the reader starts");
    let mut input = reader.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("the reader reads");
    drop(input);
    let output = reader.wait_with_output().expect("the reader ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn json_of(world: &World, args: &[&str], code: i32) -> String {
    let args = [&["run", "--plan", "p.json", "--format", "json"], args].concat();
    world.hm(&args).expect(code).stdout()
}

#[test]
fn passed_and_cached_build_with_artifacts_is_read_by_published_types() {
    let world = World::new();
    world.write_plan(&[json!({
        "key": "make",
        "cmd": "echo made | tee out.txt; printf 'no newline'",
        "cache": {"policy": "forever", "key": "make-v1"},
        "artifacts": [{"paths": ["out.txt"]}],
    })]);
    let first = json_of(&world, &[], 0);
    assert_eq!(read(&first), "starts 1 ends 1 failed 0 lines 2 hits 0 verdict 0");
    assert!(first.contains(r#""artifacts":[{"path":"out.txt""#), "{first}");
    let second = json_of(&world, &[], 0);
    assert_eq!(read(&second), "starts 0 ends 0 failed 0 lines 0 hits 1 verdict 0");
    assert!(second.contains(r#""artifacts":[{"path":"out.txt""#), "{second}");
}

#[test]
fn failed_build_with_skipped_steps_is_read_by_published_types() {
    let world = World::new();
    let steps = [("bad", "exit 3", None), ("after", "true", Some("bad"))];
    world.write("p.json", &World::plan(&steps));
    let told = json_of(&world, &[], 1);
    // The step that never ran is no pass to a reader that knows no status.
    assert_eq!(read(&told), "starts 1 ends 2 failed 2 lines 0 hits 0 verdict 1");
    assert!(told.contains(r#""status":"skipped""#), "{told}");
}

#[test]
fn retried_build_with_a_service_is_read_by_published_types() {
    let world = World::new();
    world.write_plan(&[json!({
        "key": "flaky",
        "cmd": "echo tried; exit 4",
        "retries": 1,
        "services": [{"name": "db", "cmd": "echo ready; touch up; exec sleep 1000", "health": {"cmd": "test -e up"}}],
    })]);
    let told = json_of(&world, &[], 1);
    let understood = read(&told);
    assert!(
        understood.starts_with("starts 2 ends 1 failed 1 lines ")
            && understood.ends_with(" hits 0 verdict 1"),
        "{understood}\n{told}"
    );
    for added in [r#""attempt":2"#, r#""previous_exit_code":4"#, r#""service":"db""#] {
        assert!(told.contains(added), "{added}: {told}");
    }
}

#[test]
fn build_that_timed_out_is_read_by_published_types() {
    let world = World::new();
    world.write(
        "p.json",
        &World::plan(&[("slow", "echo begun; sleep 1000", None)]),
    );
    let told = json_of(&world, &["--timeout", "1"], 124);
    assert_eq!(read(&told), "starts 1 ends 1 failed 1 lines 1 hits 0 verdict 124");
}

#[test]
fn canceled_build_is_read_by_published_types() {
    let world = World::new();
    world.write(
        "p.json",
        &World::plan(&[("slow", "echo begun; sleep 1000", None)]),
    );
    let mut hm = world
        .command(&["run", "--plan", "p.json", "--format", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut output = BufReader::new(hm.stdout.take().expect("a pipe"));
    let mut told = String::new();
    while !told.contains("begun\",\"ts") {
        assert_ne!(output.read_line(&mut told).expect("a line"), 0, "{told}");
    }
    let pid = i32::try_from(hm.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a process"), rustix::process::Signal::INT).expect("a signal");
    output.read_to_string(&mut told).expect("the rest");
    assert_eq!(hm.wait().expect("hm ends").code(), Some(130));
    assert_eq!(read(&told), "starts 1 ends 1 failed 1 lines 1 hits 0 verdict 130");
}
