//! Artifacts: what steps make, kept, listed and copied out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::World;

const RUN: [&str; 5] = ["run", "--plan", "p.json", "--format", "plain"];

fn listed(world: &World, more: &[&str]) -> Vec<(String, String)> {
    let args = [&["artifacts", "--json"], more].concat();
    let text = world.hm(&args).expect(0).stdout();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .map(|line: Value| {
            let text = |key: &str| line[key].as_str().expect("text").to_owned();
            (text("step"), text("path"))
        })
        .collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted
        .iter()
        .map(|(step, path)| ((*step).into(), (*path).into()))
        .collect()
}

fn usage(world: &World) -> u64 {
    let text = world.hm(&["cache", "du", "--json"]).expect(0).stdout();
    let usage: Value = serde_json::from_str(&text).expect("JSON");
    usage["artifact_bytes"].as_u64().expect("bytes")
}

const REPORT: &str = r#"<testsuites><testsuite name="s">
<testcase classname="math" name="adds"/><testcase classname="math" name="divides"><failure>by 0</failure></testcase>
<testcase classname="math" name="rounds"><skipped/></testcase></testsuite></testsuites>"#;

/// A step that makes all kinds of files and ends with this code.
fn maker(key: &str, code: i32) -> Value {
    let cmd = format!(
        "mkdir -p out/deep report; echo one > out/one.txt; echo two > out/deep/two.txt; ln -s /etc/passwd out/link\n\
         printf '#!/bin/sh\\necho ran\\n' > out/tool; chmod +x out/tool; echo log > failed.log; echo ok > passed.log\n\
         cat > report/unit.xml <<'END'\n{REPORT}\nEND\nexit {code}"
    );
    json!({
        "key": key, "cmd": cmd,
        "artifacts": [
            {"paths": ["out/**", "report/*.xml", "none/*"]},
            {"paths": ["passed.log"], "when": "passed"},
            {"paths": ["failed.log"], "when": "failed"},
        ],
    })
}

#[test]
fn what_steps_make_is_listed_and_copied_out_whether_they_pass_or_fail() {
    let world = World::new();
    world.write_plan(&[maker("good", 0), maker("bad/one", 1)]);
    let before = world.listing();
    let said = world.hm(&[&RUN[..], &["--keep-going"]].concat()).expect(1);
    assert_eq!(world.listing(), before, "nothing is put into the worktree");
    let stdout = said.stdout();
    assert!(stdout.contains("no file for its artifacts `none/*`"), "{said}");
    assert!(
        stdout.contains("math::divides"),
        "failed tests are told by name\n{said}"
    );
    let both = ["out/deep/two.txt", "out/one.txt", "out/tool", "report/unit.xml"];
    let of = |step: &'static str, log: &'static str| {
        let mut wanted: Vec<_> = both.iter().map(|path| (step, *path)).collect();
        wanted.push((step, log));
        pairs(&wanted)
    };
    assert_eq!(listed(&world, &["--step", "good"]), of("good", "passed.log"));
    assert_eq!(
        listed(&world, &["--step", "bad/one"]),
        of("bad/one", "failed.log")
    );
    let table = world.hm(&["artifacts"]).expect(0).stdout();
    assert!(table.contains("1 of 3 failed, 1 skipped"), "{table}");

    let to = world.path().join("copies");
    let there = to.display().to_string();
    fs::create_dir_all(to.join("good/out")).expect("a directory");
    fs::write(world.path().join("mine"), "mine").expect("a file");
    fs::write(to.join("good/out/one.txt"), "old").expect("a file");
    std::os::unix::fs::symlink(world.path().join("mine"), to.join("good/passed.log")).expect("a link");
    let said = world.hm(&["artifacts", "--to", &there]).expect(0);
    assert!(said.stderr().contains("10 artifacts in "), "{said}");
    let read =
        |path: &str| fs::read_to_string(to.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(read("good/out/one.txt"), "one\n");
    assert_eq!(read("bad/one/out/deep/two.txt"), "two\n");
    assert_eq!(read("good/passed.log"), "ok\n");
    assert_eq!(
        fs::read_to_string(world.path().join("mine")).expect("mine"),
        "mine"
    );
    assert!(!to.join("good/out/link").exists());
    let mode = |path: &str| fs::metadata(to.join(path)).expect("a copy").permissions().mode() & 0o111;
    assert_eq!(
        (mode("good/out/tool") & 0o100, mode("good/out/one.txt")),
        (0o100, 0)
    );
    let said = world.hm(&["artifacts", "--step", "godo"]).expect(2);
    assert!(said.stderr().contains("did you mean `good`?"), "{said}");
}

#[test]
fn a_failed_run_copies_them_at_its_end_where_it_was_asked_to() {
    let world = World::new();
    world.write_plan(&[maker("bad", 1)]);
    let to = world.path().join("ci");
    let to_text = to.display().to_string();
    let args = [&RUN[..], &["--artifacts", &to_text]].concat();
    world.hm(&args).expect(1);
    assert_eq!(
        fs::read_to_string(to.join("bad/failed.log")).expect("a copy"),
        "log\n"
    );
    assert!(!to.join("bad/passed.log").exists());
}

fn contents(world: &World) -> Vec<std::path::PathBuf> {
    let files = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    files(&world.data().join("artifacts/files"))
        .iter()
        .flat_map(|path| files(path))
        .collect()
}

#[test]
fn a_cache_hit_lists_them_again_and_is_none_once_they_are_gone() {
    let world = World::new();
    let mut step = json!({"key": "one", "cmd": "echo one > one.txt", "artifacts": [{"paths": ["*.txt"]}]});
    step["cache"] = json!({"policy": "forever", "key": "k"});
    world.write_plan(&[step]);
    world.hm(&RUN).expect(0);
    let hit = world.hm(&RUN).expect(0);
    assert!(
        hit.stdout().contains("cached") && hit.stdout().contains("one.txt"),
        "{hit}"
    );
    assert_eq!(listed(&world, &[]), pairs(&[("one", "one.txt")]));
    let files = contents(&world);
    assert_eq!(files.len(), 1);
    fs::remove_file(&files[0]).expect("removed");
    let miss = world.hm(&RUN).expect(0);
    assert!(miss.stdout().contains("its artifact one.txt is gone"), "{miss}");
    assert_eq!(contents(&world), files);
    fs::remove_dir_all(world.data().join("artifacts/snapshots")).expect("removed");
    let miss = world.hm(&RUN).expect(0);
    assert!(miss.stdout().contains("its artifacts are gone"), "{miss}");
}

#[test]
fn too_much_is_left_out_and_told() {
    let world = World::new();
    let make = "for n in 1 2 3; do head -c 1000 /dev/zero > $n.bin; done";
    let free = json!({"key": "free", "cmd": make, "artifacts": [{"paths": ["*.bin"]}]});
    let capped =
        json!({"key": "capped", "cmd": make, "artifacts": [{"paths": ["*.bin"], "max_bytes": 1500}]});
    world.write_plan(&[free, capped]);
    world.write(".hm/config.toml", "[artifacts]\nmax_bytes = 2500\n");
    let said = world.hm(&RUN).expect(0);
    assert!(
        said.stdout().contains("left out of its artifacts: 3.bin"),
        "{said}"
    );
    assert!(
        said.stdout().contains("left out of its artifacts: 2.bin"),
        "{said}"
    );
    assert_eq!(listed(&world, &["--step", "free"]).len(), 2);
    assert_eq!(
        listed(&world, &["--step", "capped"]),
        pairs(&[("capped", "1.bin")])
    );
}

#[test]
fn they_live_as_long_as_a_run_lists_them() {
    let world = World::new();
    let step = |text: &str| json!({"key": "one", "cmd": format!("echo {text} > one.txt"), "artifacts": [{"paths": ["one.txt"]}]});
    world.write_plan(&[step("first run")]);
    world.hm(&RUN).expect(0);
    let first = world.newest();
    world.write_plan(&[step("second")]);
    world.hm(&RUN).expect(0);
    assert_eq!(usage(&world), 17);
    fs::remove_dir_all(world.data().join("runs").join(&first)).expect("the run's record");
    // The steps have no cache policy, but what they left is there to be looked at.
    world.hm(&["cache", "clean"]).expect(0);
    for list in fs::read_dir(world.data().join("artifacts/snapshots/sandbox"))
        .expect("lists")
        .flatten()
    {
        let list = fs::File::open(list.path()).expect("a list");
        list.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .expect("older");
    }
    let said = world.hm(&["cache", "prune"]).expect(0);
    assert!(said.stdout().contains("removed 1 artifacts"), "{said}");
    assert_eq!(usage(&world), 7);
    assert_eq!(listed(&world, &[]), pairs(&[("one", "one.txt")]));
}

#[test]
fn a_canceled_step_leaves_none_and_one_out_of_time_does() {
    let world = World::new();
    let step = |key: &str, end: &str| {
        let cmd = format!("echo log > {key}.log; {end}");
        json!({"key": key, "cmd": cmd, "artifacts": [{"paths": ["*.log"]}], "timeout_seconds": 2})
    };
    world.write_plan(&[step("slow", "sleep 60"), step("fails", "sleep 0.5; exit 1")]);
    world.hm(&[&RUN[..], &["-j", "2"]].concat()).expect(1);
    assert_eq!(listed(&world, &[]), pairs(&[("fails", "fails.log")]));
    world.write_plan(&[step("slow", "sleep 60")]);
    world.hm(&RUN).expect(1);
    assert_eq!(listed(&world, &[]), pairs(&[("slow", "slow.log")]));
}

#[test]
fn artifacts_are_written_through_no_link_below_their_directory() {
    let world = World::new();
    world.write_plan(&[
        json!({"key": "s", "cmd": "mkdir d; echo new > d/file", "artifacts": [{"paths": ["d/*"]}]}),
    ]);
    let victim = world.path().join("victim");
    fs::create_dir_all(victim.join("d")).expect("a directory");
    let link = |target: &Path, name: &str| {
        let path = world.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::os::unix::fs::symlink(target, path).expect("a link");
    };
    link(&victim, "one/s");
    link(&victim.join("d"), "two/s/d");
    link(Path::new("../victim"), "three/s");
    world.hm(&RUN).expect(0);
    for name in ["one", "two", "three"] {
        let to = world.path().join(name).display().to_string();
        let said = world.hm(&["artifacts", "--to", &to]).expect(2);
        assert!(said.stderr().contains("through no link"), "{said}");
        let said = world.hm(&[&RUN[..], &["--artifacts", &to]].concat());
        assert!(said.stderr().contains("through no link"), "{said}");
    }
    assert_eq!(fs::read_dir(victim.join("d")).expect("a directory").count(), 0);
    // Where the directory itself is, is its owner's choice.
    fs::create_dir(world.path().join("real")).expect("a directory");
    link(&world.path().join("real"), "chosen");
    let to = world.path().join("chosen").display().to_string();
    world.hm(&["artifacts", "--to", &to]).expect(0);
    let copied = fs::read_to_string(world.path().join("real/s/d/file")).expect("a copy");
    assert_eq!(copied, "new\n");
}

#[test]
fn damaged_artifact_is_not_copied_and_its_step_runs_again() {
    let world = World::new();
    let mut step = json!({"key": "one", "cmd": "echo one > one.txt", "artifacts": [{"paths": ["*.txt"]}]});
    step["cache"] = json!({"policy": "forever", "key": "k"});
    world.write_plan(&[step]);
    world.hm(&RUN).expect(0);
    fs::write(&contents(&world)[0], "two\n").expect("damage");
    let to = world.path().join("copies").display().to_string();
    let said = world.hm(&["artifacts", "--to", &to]);
    assert!(
        said.stderr().contains("is not one.txt as step `one` made it"),
        "{said}"
    );
    assert!(!world.path().join("copies/one/one.txt").exists());
    let said = world.hm(&RUN).expect(0);
    assert!(said.stdout().contains("its artifact one.txt is gone"), "{said}");
    world.hm(&["artifacts", "--to", &to]).expect(0);
}
