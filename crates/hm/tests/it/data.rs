//! What hm stores: closed to others, flushed to the disk, and never believed once it was damaged.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::World;

const RUN: [&str; 5] = ["run", "--plan", "p.json", "--format", "plain"];

/// Every file and directory below a path that is no link.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
        if !metadata.is_symlink() {
            found.push(path);
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("metadata").permissions().mode() & 0o7777
}

#[test]
fn data_directory_is_closed_to_others_whatever_the_umask() {
    let world = World::new();
    world.write_plan(&[json!({
        "key": "a", "cmd": "umask; echo x > x; cp /bin/true tool; chmod 4755 tool",
        "artifacts": [{"paths": ["x", "tool"]}],
    })]);
    // An earlier hm, or somebody's `mkdir`, left it open.
    for open in ["", "registry", "sources", "sandbox"] {
        fs::create_dir_all(world.data().join(open)).expect("a directory");
        fs::set_permissions(world.data().join(open), Permissions::from_mode(0o777)).expect("permissions");
    }
    let hm = world.command(&RUN);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]);
    shell.arg(hm.get_program()).args(hm.get_args());
    shell.current_dir(world.repo()).env_clear();
    shell.envs(hm.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = world.say(&mut shell).expect(0);
    assert!(said.stdout().contains("0022"), "a step has its own umask\n{said}");
    for entry in fs::read_dir(world.data()).expect("data") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path) & 0o077, 0, "{} is open", path.display());
    }
    // What a step sees as its own has the modes that it has there, within directories that nobody else enters.
    for path in below(&world.data())
        .iter()
        .filter(|path| is_of_hm(&world.data(), path))
    {
        assert_eq!(mode(path) & 0o002, 0, "{} is writable by others", path.display());
    }
    let to = world.path().join("out");
    world
        .hm(&["artifacts", "--to", &to.display().to_string()])
        .expect(0);
    assert_eq!(mode(&to.join("a/tool")) & 0o7000, 0);
}

#[test]
fn setuid_bit_of_source_is_not_in_step() {
    let world = World::new();
    world.write("tool", "#!/bin/sh\n");
    fs::create_dir(world.repo().join("dir")).expect("a directory");
    world.write("dir/file", "");
    fs::set_permissions(world.repo().join("tool"), Permissions::from_mode(0o6755)).expect("permissions");
    fs::set_permissions(world.repo().join("dir"), Permissions::from_mode(0o2755)).expect("permissions");
    world.write_plan(&[json!({"key": "a", "cmd": "stat -c '%n %a' tool dir"})]);
    let said = world.hm(&RUN).expect(0);
    assert!(
        said.stdout().contains("tool 755") && said.stdout().contains("dir 755"),
        "{said}"
    );
    for path in below(&world.data()) {
        assert_eq!(mode(&path) & 0o6000, 0, "{}", path.display());
    }
}

#[test]
fn snapshots_are_flushed_by_the_run_that_made_them_and_by_the_next() {
    let world = World::new();
    world.write_plan(&[json!({"key": "a", "cmd": "echo x > x", "cache": {"policy": "forever", "key": "k"}})]);
    world.hm(&RUN).expect(0);
    let registry = world.data().join("registry/sandbox");
    let records = || -> Vec<PathBuf> {
        let entries = fs::read_dir(registry.join("snapshots")).expect("records");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let starts = |path: &PathBuf, word: &str| {
        fs::read_to_string(path)
            .expect("a record")
            .starts_with(&format!("hm2 {word}\n"))
    };
    assert_eq!(records().len(), 1);
    assert!(records().iter().all(|path| starts(path, "synced!!")));
    // As a run leaves it that was killed at its end.
    for path in records() {
        let text = fs::read_to_string(&path).expect("a record");
        fs::write(&path, text.replace("synced!!", "unsynced")).expect("a record");
    }
    fs::remove_file(registry.join("flushed")).expect("the time of the last flush");
    let said = world.hm(&RUN).expect(0);
    assert!(said.stdout().contains("cached"), "{said}");
    assert!(records().iter().all(|path| starts(path, "synced!!")));
}

#[test]
fn plan_image_is_no_path_outside_the_source() {
    let world = World::new();
    let outside = world.path().join("outside");
    fs::create_dir_all(outside.join("etc")).expect("a directory");
    symlink(&outside, world.repo().join("link")).expect("a link");
    let absolute = outside.display().to_string();
    for image in [absolute.as_str(), "../outside", "./link", "./link/../outside"] {
        world.write_plan(&[json!({"key": "a", "cmd": "true", "image": image})]);
        let said = world.hm(&RUN).expect(2);
        assert!(said.stderr().contains("within its own source"), "{image}: {said}");
        let service = json!({"name": "db", "cmd": "sleep 9", "image": image});
        world.write_plan(&[json!({"key": "a", "cmd": "true", "services": [service]})]);
        let said = world.hm(&RUN).expect(2);
        assert!(said.stderr().contains("within its own source"), "{image}: {said}");
    }
}

#[test]
fn plan_image_within_the_source_and_one_of_the_user_may_be_a_path() {
    let world = World::new();
    for root in [world.repo().join("root"), world.path().join("outside")] {
        for directory in ["etc", "bin", "proc", "dev", "tmp"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        fs::copy("/bin/busybox", root.join("bin/sh")).expect("busybox, of the package busybox-static");
    }
    symlink("root", world.repo().join("link")).expect("a link");
    for image in ["./root", "./link"] {
        world.write_plan(&[json!({"key": "a", "cmd": "echo inside", "image": image})]);
        let said = world.hm(&RUN).expect(0);
        assert!(said.stdout().contains("inside"), "{said}");
    }
    world.write_plan(&[json!({"key": "a", "cmd": "echo outside", "image": "ubuntu:24.04"})]);
    let mapped = format!("ubuntu:24.04={}", world.path().join("outside").display());
    let said = world.hm(&[&RUN[..], &["--image", &mapped]].concat()).expect(0);
    assert!(said.stdout().contains("outside"), "{said}");
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// Whether a file is hm's own, and not the content of somebody's file, which only a disk can keep whole: a frozen source, what
/// a step wrote, a program of the host or of Python.
fn is_of_hm(data: &Path, path: &Path) -> bool {
    let inside = path
        .strip_prefix(data)
        .expect("below the data")
        .to_string_lossy()
        .into_owned();
    !inside.is_empty()
        && !inside.contains("/tree")
        && !inside.contains("/@")
        && !inside.contains("__pycache__")
        && !inside.starts_with("sandbox/caches/")
}

/// Damages a file or a directory, and says how.
fn damage(dice: &mut Dice, path: &Path) -> &'static str {
    let metadata = fs::symlink_metadata(path).expect("metadata");
    let remove = || {
        if metadata.is_dir() {
            fs::remove_dir_all(path).expect("removed");
        } else {
            fs::remove_file(path).expect("removed");
        }
    };
    let is_full = metadata.is_file() && metadata.len() > 0;
    let first = if is_full { 0 } else { 4 };
    match first + dice.roll(if is_full { 9 } else { 5 }) {
        0 | 1 => {
            let mut bytes = fs::read(path).expect("content");
            let at = dice.roll(bytes.len());
            bytes[at] ^= 1 << dice.roll(8);
            fs::write(path, bytes).expect("written");
            "a flipped bit"
        }
        2 => {
            let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
            let length = dice.roll(usize::try_from(metadata.len()).expect("small"));
            file.set_len(length as u64).expect("cut");
            "cut short"
        }
        3 => {
            fs::write(path, vec![0; usize::try_from(metadata.len()).expect("small")]).expect("written");
            "zeros"
        }
        4 => {
            remove();
            "removed"
        }
        5 => {
            remove();
            fs::create_dir(path).expect("a directory");
            "an empty directory"
        }
        6 => {
            remove();
            symlink("/no/such/place", path).expect("a link");
            "a dangling link"
        }
        7 => {
            remove();
            let made = std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .expect("mkfifo");
            assert!(made.success());
            "a pipe"
        }
        _ => {
            remove();
            fs::write(path, "something else\n").expect("written");
            "another file"
        }
    }
}

const DAMAGED: &str = r#"
import harmont as hm

@hm.pipeline("ci")
def ci():
    a = hm.sh("echo value-$((3 + 4)) > out; cp source copy", key="a", cache=hm.auto(), artifacts=["out"])
    b = a.sh("echo more >> copy", key="b", cache=hm.auto())
    return b.sh("cat out copy", key="c")
"#;

/// Runs `hm` over another data directory, and not for ever.
fn hm_over(world: &World, data: &Path, args: &[&str]) -> crate::harness::Said {
    let hm = world.command(args);
    let mut bounded = std::process::Command::new("timeout");
    bounded
        .args(["-k", "1", "120"])
        .arg(hm.get_program())
        .args(hm.get_args());
    bounded.current_dir(world.repo()).env_clear();
    bounded.envs(hm.get_envs().filter_map(|(name, value)| Some((name, value?))));
    world.say(bounded.env("HM_DATA_DIR", data))
}

#[test]
fn damaged_data_gives_a_miss_or_an_error_and_never_a_wrong_result() {
    let world = World::with_pipeline(DAMAGED);
    world.write("source", "source-8\n");
    world.hm(&["run"]).expect(0);
    world.hm(&["run"]).expect(0);
    let run = world.newest();
    let mut everything: Vec<PathBuf> = below(&world.data());
    everything.retain(|path| is_of_hm(&world.data(), path));
    everything.sort();
    assert!(everything.len() > 60, "{everything:?}");
    let next = std::sync::atomic::AtomicU64::new(0);
    let one = |number: u64| {
        let mut dice = Dice(number);
        dice.roll(2);
        let data = world.path().join(format!("data-{number}"));
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(world.data())
            .arg(&data)
            .status();
        assert!(copied.expect("cp").success());
        let mut how = format!("case {number}:");
        for _ in 0..=dice.roll(3) {
            let inside = everything[dice.roll(everything.len())]
                .strip_prefix(world.data())
                .expect("below");
            let path = data.join(inside);
            // The one above it may have gone before.
            if path.symlink_metadata().is_ok() {
                how += &format!(" {} {};", inside.display(), damage(&mut dice, &path));
            }
        }
        let is_right = |said: &crate::harness::Said| {
            let text = said.stdout();
            ["value-7", "source-8", "more", "passed"]
                .iter()
                .all(|word| text.contains(word))
        };
        let logs = hm_over(&world, &data, &["logs", &run]);
        if logs.expected(0) {
            assert!(is_right(&logs), "{how}\n{logs}");
        }
        let first = hm_over(&world, &data, &["run", "--format", "plain"]);
        if first.expected(0) {
            assert!(is_right(&first), "{how}\n{first}");
        } else {
            assert!(first.stderr().contains("error"), "{how}\n{first}");
        }
        let second = hm_over(&world, &data, &["run", "--format", "plain"]);
        assert!(
            second.expected(0) && is_right(&second),
            "{how}\n{first}\n{second}"
        );
        let cleaned = hm_over(&world, &data, &["cache", "clean"]);
        assert!(cleaned.expected(0), "{how}\n{cleaned}");
        let third = hm_over(&world, &data, &["run", "--format", "plain"]);
        assert!(third.expected(0) && is_right(&third), "{how}\n{third}");
        fs::remove_dir_all(&data).expect("removed");
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let number @ 0..100 = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    one(number);
                }
            });
        }
    });
}

/// A small disk of its own at a path; it goes with this.
struct Disk(PathBuf);

impl Disk {
    /// Nothing where this machine cannot have one.
    fn new(at: &Path) -> Option<Self> {
        let script = "truncate -s 96M \"$1.img\" && mkfs.ext4 -q -m 0 \"$1.img\" && mkdir -p \"$1\" && mount -o loop \"$1.img\" \"$1\" && \
                      chmod 700 \"$1\"";
        let made = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(at)
            .output();
        match made {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            made => {
                hm_vm::testing::skip(&format!("no disk of its own here: {made:?}"));
                None
            }
        }
    }

    /// Fills it to the last block.
    fn fill(&self) {
        let script = "cd \"$1\" && mkdir -p fill && cat /dev/zero > fill/large; n=0; while echo x > fill/$n; do n=$((n + 1)); done; \
                      cat /dev/zero >> fill/large; true";
        let filled = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&self.0)
            .output();
        assert!(filled.expect("sh").status.success());
        assert!(fs::create_dir(self.0.join("more")).is_err(), "there is room left");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn cache_clean_needs_no_room() {
    let world = World::new();
    world.write_plan(&[json!({
        // On a disk as small as this one, a step that has written more than 16 MiB is stopped.
        "key": "a", "cmd": "head -c 10000000 /dev/urandom > x", "cache": {"policy": "forever", "key": "k"},
        "artifacts": [{"paths": ["x"]}],
    })]);
    for is_new in [true, false] {
        let data = world.path().join(if is_new { "new" } else { "used" });
        let Some(disk) = Disk::new(&data) else { return };
        if !is_new {
            hm_over(&world, &data, &RUN).expect(0);
        }
        disk.fill();
        let said = hm_over(&world, &data, &["cache", "clean"]).expect(0);
        if !is_new {
            assert!(said.stdout().starts_with("removed 1 snapshots"), "{said}");
            fs::remove_dir_all(data.join("fill")).expect("removed");
            hm_over(&world, &data, &RUN).expect(0);
        }
        drop(disk);
    }
}
