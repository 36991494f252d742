//! `--backend docker`, over a real daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hm_docker::testing::{Dockerd, Reach};
use hm_oci::testing::{ImageBuilder, Layer, Registry, Throttle};
use serde_json::{Value, json};

use crate::harness::{Said, World};

/// `hm` on a daemon.
fn on_docker(world: &World, daemon: &Dockerd, args: &[&str]) -> Command {
    let mut command = world.command(args);
    command
        .env("DOCKER_HOST", daemon.host())
        .env("HM_BACKEND", "docker");
    command
}

fn say(world: &World, daemon: &Dockerd, args: &[&str]) -> Said {
    world.say(&mut on_docker(world, daemon, args))
}

/// A plan whose steps all start from one image.
fn plan(image: &str, steps: &[(&str, &str, Option<&str>)]) -> String {
    let mut plan: Value = serde_json::from_str(&World::plan(steps)).expect("JSON");
    plan["default_image"] = image.into();
    plan.to_string()
}

/// What a plan that fails half-way does: a chain, a fork, both streams, a file over the source.
const STEPS: &[(&str, &str, Option<&str>)] = &[
    (
        "base",
        "cat /etc/greeting source.txt; echo changed > source.txt; id -u; pwd",
        None,
    ),
    ("good", "cat source.txt; echo words >&2", Some("base")),
    ("bad", "printf 'no newline'; exit 3", Some("base")),
    ("after", "echo never", Some("bad")),
];

/// A run's events with what differs from run to run taken out, a step's together. A line that came in pieces is one
/// again: where it is cut depends on the machine's speed.
fn events(said: &Said) -> Vec<String> {
    let mut steps: Vec<Value> = Vec::new();
    for line in said.stdout().lines() {
        let mut event: Value = serde_json::from_str(line).expect("JSON");
        let fields = event.as_object_mut().expect("an object");
        for varies in ["ts", "started_at", "duration_ms", "run_id", "snapshot", "header"] {
            fields.remove(varies);
        }
        match event["kind"].as_str() {
            Some("step_start") => event["runner"] = Value::Null,
            Some("build_accepted") => event["build"]["run_id"] = Value::Null,
            _ => {}
        }
        let of_line = |event: &Value| (event["step_id"].clone(), event["stream"].clone());
        let begun = steps
            .iter_mut()
            .find(|other| other["partial"] == true && of_line(other) == of_line(&event));
        let Some(begun) = begun else {
            steps.push(event);
            continue;
        };
        let line = |event: &Value| String::from(event["line"].as_str().expect("a line"));
        let whole = format!("{}{}", line(begun), line(&event));
        begun["line"] = whole.into();
        if event["partial"] != true {
            begun.as_object_mut().expect("an object").remove("partial");
        }
    }
    let keys: Vec<(Value, Value)> = steps
        .iter()
        .filter(|event| event["kind"] == "step_queued")
        .map(|event| (event["step_id"].clone(), event["key"].clone()))
        .collect();
    let name = |id: &Value| {
        keys.iter()
            .find(|(known, _)| known == id)
            .map(|(_, key)| key.clone())
    };
    for event in &mut steps {
        for field in ["step_id", "failed_step_id"] {
            if let Some(key) = event.get(field).and_then(name) {
                event[field] = key;
            }
        }
    }
    // Steps that run at once tell their events in turns: each step's own order counts, and each stream's.
    let mut lines: Vec<(String, String)> = steps
        .iter()
        .map(|event| {
            let stream = event.get("stream").map(Value::to_string).unwrap_or_default();
            let step = event.get("step_id").map(Value::to_string).unwrap_or_default();
            (format!("{step}{stream}"), event.to_string())
        })
        .collect();
    lines.sort_by(|left, right| left.0.cmp(&right.0));
    lines.into_iter().map(|(_, line)| line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_project_gives_the_same_events_on_both_backends() {
    let registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let built = ImageBuilder::busybox()
        .layer(Layer::new().file("etc/greeting", "hello from the image\n"))
        .env("OF_THE_IMAGE", "yes")
        .build();
    built.push(&registry, "greeter:1").await;
    let image = format!("{}/greeter:1", way.address());
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(way.address());
    let world = World::new();
    world.write("source.txt", "the source\n");
    world.write("p.json", &plan(&image, STEPS));
    let run = [
        "run",
        "--plan",
        "p.json",
        "--keep-going",
        "--format",
        "json",
        "-j",
        "1",
    ];

    let sandbox = world.hm(&run).expect(1);
    let docker = say(&world, &daemon, &run).expect(1);
    assert_eq!(events(&docker), events(&sandbox));
    let header = |said: &Said| -> Value {
        let text = said.stdout();
        let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        first["header"].clone()
    };
    let (here, there) = (header(&sandbox), header(&docker));
    assert_eq!(
        (&here["backend"], &there["backend"]),
        (&json!("local-sandbox"), &json!("local-docker"))
    );
    assert_eq!(here["images"], there["images"], "one image has one digest");

    let _ = way.take_requests();
    say(&world, &daemon, &run).expect(1);
    let requests = way.take_requests();
    let blobs = requests.iter().filter(|line| line.contains("/blobs/"));
    assert_eq!(blobs.count(), 0, "nothing is pulled again");

    // Each command finds the snapshots where they are.
    let shell = ["shell", "bad", "--", "cat", "source.txt"];
    assert_eq!(say(&world, &daemon, &shell).expect(0).stdout(), "changed\n");
    let mut elsewhere = world.command(&shell);
    elsewhere.env("DOCKER_HOST", daemon.host());
    assert_eq!(
        world.say(&mut elsewhere).expect(0).stdout(),
        "changed\n",
        "the run tells the backend"
    );
    let mut rerun = world.command(&["rerun", "--failed", "--format", "json"]);
    let said = world.say(rerun.env("DOCKER_HOST", daemon.host())).expect(1);
    assert_eq!(header(&said)["backend"], "local-docker");

    let listed = say(&world, &daemon, &["image", "ls"]).expect(0).stdout();
    assert!(listed.contains("greeter:1"), "{listed}");
    let snapshots = |world: &World| {
        let text = say(world, &daemon, &["cache", "ls", "--json"]).expect(0).stdout();
        text.lines().count()
    };
    assert!(snapshots(&world) >= 2);
    say(&world, &daemon, &["cache", "clean"]).expect(0);
    assert_eq!(snapshots(&world), 0);
    let left = daemon.inventory();
    assert!(left.iter().all(|thing| thing.starts_with("image ")), "{left:?}");
    let own = daemon.docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(own.trim(), image, "what was pulled stays, and nothing else");
}

/// A build that has begun to run a step that has no end.
fn running(world: &World, daemon: &Dockerd) -> Child {
    let mut command = on_docker(world, daemon, &["run", "--plan", "p.json", "--format", "plain"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("hm starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("step-runs") {
        line.clear();
        assert!(
            output.read_line(&mut line).expect("hm speaks") > 0,
            "the step never started"
        );
    }
    // The rest is read for as long as hm lives.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    child
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_leaves_no_container_and_what_a_killed_one_left_goes() {
    let registry = Registry::start();
    let image = ImageBuilder::busybox().build().push(&registry, "busybox:1").await;
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let world = World::new();
    let endless = "echo step-'runs'; sleep 1000 & (trap '' INT TERM; sleep 1000) & wait";
    world.write("p.json", &plan(&image, &[("a", endless, None)]));
    say(&world, &daemon, &["image", "pull", &image]).expect(0);
    let containers = || daemon.docker(&["ps", "--all", "--quiet"]);

    let mut child = running(&world, &daemon);
    assert_ne!(containers(), "", "it has a container");
    signal("-INT", &child);
    assert_eq!(child.wait().expect("hm ends").code(), Some(130));
    assert_eq!(containers(), "");
    say(&world, &daemon, &["cache", "clean"]).expect(0);
    let before = daemon.inventory();

    let mut child = running(&world, &daemon);
    signal("-KILL", &child);
    child.wait().expect("hm ends");
    world.write("next.json", &plan(&image, &[("b", "true", None)]));
    say(&world, &daemon, &["run", "--plan", "next.json"]).expect(0);
    assert_eq!(containers(), "", "the next run removes what the killed one left");
    say(&world, &daemon, &["cache", "clean"]).expect(0);
    assert_eq!(daemon.inventory(), before, "{before:?}");
}

#[test]
fn without_a_daemon_it_says_so_and_what_to_do() {
    let world = World::new();
    world.write("p.json", &World::plan(&[("a", "true", None)]));
    let run = |host: &str| {
        let mut command = world.command(&["run", "--backend", "docker", "--plan", "p.json"]);
        world.say(command.env("DOCKER_HOST", host)).expect(2)
    };
    let nowhere = format!("unix://{}", world.path().join("nowhere.sock").display());
    let said = run(&nowhere);
    assert!(said.stderr().contains("nowhere.sock"), "{said}");
    assert!(said.stderr().contains("hint: "), "{said}");
    assert_eq!(said.stdout(), "");

    // One that takes connections and never answers is not waited for.
    let socket = world.path().join("silent.sock");
    let silent = UnixListener::bind(&socket).expect("a socket");
    let said = run(&format!("unix://{}", socket.display()));
    assert!(said.stderr().contains("silent.sock"), "{said}");
    drop(silent);

    let listed = world.hm(&["builds", "--json"]).expect(0).stdout();
    assert_eq!(listed, "", "what never began is no run");
    let doctor = world.say(world.command(&["doctor"]).env("DOCKER_HOST", nowhere));
    assert!(doctor.stdout().contains("nowhere.sock"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_sandbox_cannot_be_docker_runs_the_build_and_a_line_says_so() {
    let registry = Registry::start();
    let image = ImageBuilder::busybox().build().push(&registry, "busybox:1").await;
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let world = World::new();
    world.write("p.json", &plan(&image, &[("a", "echo step-'ran'", None)]));
    for below in ["upper", "work", "merged"] {
        fs::create_dir(world.path().join(below)).expect("a directory");
    }
    // An overlay cannot write to another overlay: hm's data on one leaves no place for the sandbox.
    let script = format!(
        "cd {0} && mount -t overlay none -o lowerdir=data,upperdir=upper,workdir=work merged && cd repo && \
         exec \"$@\"",
        world.path().display()
    );
    let hm = |more: &[&str]| {
        let inner = world.command(&[]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]);
        command.arg(env!("CARGO_BIN_EXE_hm")).args(more);
        command.env_clear();
        for (name, value) in inner.get_envs() {
            command.env(name, value.expect("a value"));
        }
        command
            .env("DOCKER_HOST", daemon.host())
            .env("HM_DATA_DIR", world.path().join("merged"));
        world.say(&mut command)
    };
    let said = hm(&["run", "--plan", "p.json"]).expect(0);
    assert!(said.stderr().contains("the sandbox cannot be here"), "{said}");
    assert!(
        said.stdout().contains("local-docker") && said.stdout().contains("step-ran"),
        "{said}"
    );
    let doctor = hm(&["doctor"]).expect(0);
    assert!(doctor.stdout().contains("builds run on docker"), "{doctor}");
    hm(&["run", "--backend", "sandbox", "--plan", "p.json"]).expect(2);
}

/// At random moments of a run in which each of its parts takes a while: a cache directory is made, a large file is
/// committed and copied out, a service is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn interrupt_at_any_moment_leaves_nothing_on_docker() {
    let registry = Registry::start();
    let image = ImageBuilder::busybox().build().push(&registry, "busybox:1").await;
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let world = World::new();
    world.write("source.txt", "the source\n");
    let steps = [
        (
            "large",
            "dd if=/dev/zero of=large bs=1M seek=300 count=1 2> /dev/null",
            None,
        ),
        (
            "served",
            "sleep 0.3; echo step-'runs' > /var/kept/file; sleep 1000 & wait",
            Some("large"),
        ),
    ];
    let mut interrupted: Value = serde_json::from_str(&plan(&image, &steps)).expect("JSON");
    let nodes = &mut interrupted["graph"]["nodes"];
    nodes[0]["step"]["artifacts"] = json!([{"paths": ["large"]}]);
    nodes[1]["step"]["caches"] = json!([{"name": "kept", "path": "/var/kept"}]);
    nodes[1]["step"]["services"] = json!([{"name": "idle", "image": image, "cmd": "sleep 1000"}]);
    world.write("p.json", &interrupted.to_string());
    world.write("next.json", &plan(&image, &[("b", "true", None)]));
    say(&world, &daemon, &["run", "--plan", "next.json"]).expect(0);
    let mut longest = Duration::ZERO;
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..20 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = Duration::from_millis(random % 8000);
        world.write("source.txt", &format!("the source of {round}\n"));
        let mut command = on_docker(&world, &daemon, &["run", "--plan", "p.json", "--format", "plain"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("hm starts");
        std::thread::sleep(moment);
        let began = Instant::now();
        signal("-INT", &child);
        let status = child.wait().expect("hm ends");
        longest = longest.max(began.elapsed());
        // Before it handles signals, it ends by this one.
        let ended =
            status.code() == Some(130) || std::os::unix::process::ExitStatusExt::signal(&status) == Some(2);
        assert!(ended, "round {round}, after {moment:?}: {status}");
        let left = daemon.docker(&["ps", "--all", "--format", "{{.Names}} {{.Status}}"]);
        assert_eq!(left, "", "round {round}, after {moment:?}");
        eprintln!("round {round}, after {moment:?}: {:?}", began.elapsed());
    }
    eprintln!("the longest end took {longest:?}");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    // What the engine was still busy with when a run had gone is removed by the next one.
    say(&world, &daemon, &["run", "--plan", "next.json"]).expect(0);
    say(&world, &daemon, &["cache", "clean"]).expect(0);
    let left = daemon.inventory();
    assert!(left.iter().all(|thing| thing.starts_with("image ")), "{left:?}");
    let own = daemon.docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(own.trim(), image, "what was pulled stays, and nothing else");
}

/// A checkout's own index knows its files where their times are whole seconds, too.
#[tokio::test(flavor = "multi_thread")]
async fn git_index_is_fresh_in_a_step_on_docker() {
    let registry = Registry::start();
    let image = ImageBuilder::busybox().build().push(&registry, "busybox:1").await;
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let world = World::new();
    world.write("file.txt", "content\n");
    world.write("sub/file.txt", "more\n");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .current_dir(world.repo());
        let output = git.output().expect("git runs");
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "one"]);
    let step = ("a", "stat -c '%Y %s' file.txt sub/file.txt", None);
    let mut plan: Value = serde_json::from_str(&plan(&image, &[step])).expect("JSON");
    plan["graph"]["nodes"][0]["step"]["artifacts"] = json!([{"paths": [".git/**", "**/*.txt"]}]);
    world.write("p.json", &plan.to_string());
    let out = world.path().join("out");
    let to = out.display().to_string();
    let run = [
        "run",
        "--plan",
        "p.json",
        "--git",
        "--artifacts",
        &to,
        "--format",
        "plain",
    ];
    let said = say(&world, &daemon, &run).expect(0);
    // No git is in the image: the step's own is asked here, of files with the times that the step saw.
    let tree = out.join("a");
    let times: Vec<u64> = said
        .stdout()
        .lines()
        .filter_map(|line| line.strip_prefix("[a] ")?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(times.len(), 2, "{said}");
    for (name, seconds) in ["file.txt", "sub/file.txt"].iter().zip(times) {
        let file = fs::File::options()
            .write(true)
            .open(tree.join(name))
            .expect("a file");
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
            .expect("its time");
    }
    let mut git = Command::new("git");
    git.args(["diff-files", "--name-only"]).current_dir(&tree);
    let output = git.output().expect("git runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_no_image_can_hold_are_refused_on_docker() {
    let registry = Registry::start();
    let image = ImageBuilder::busybox().build().push(&registry, "busybox:1").await;
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let world = World::new();
    let step = ("a", "mkdir d; touch d/file d/.wh.file", None);
    world.write("p.json", &plan(&image, &[step]));
    let said = say(&world, &daemon, &["run", "--plan", "p.json", "--format", "plain"]);
    assert!(!said.expected(0), "{said}");
    assert!(format!("{said}").contains("/workspace/d/.wh.file"), "{said}");
}

/// What a program asks its machine: which signals are ignored, how much memory there is, where a service's name leads,
/// whether what it draws is shown while it draws.
#[tokio::test(flavor = "multi_thread")]
async fn step_on_docker_sees_its_signals_limits_and_services() {
    let registry = Registry::start();
    let image = ImageBuilder::busybox().build().push(&registry, "busybox:1").await;
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let world = World::new();
    let steps = [
        ("signals", "grep -E '^Sig(Ign|Blk)' /proc/self/status", None),
        (
            "memory",
            "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null | grep -x 268435456",
            None,
        ),
        ("names", "grep web /etc/hosts", None),
        (
            "bar",
            "for part in 1 2 3; do printf '\\r%d0%%' $part; sleep 1; done; echo",
            None,
        ),
    ];
    let mut plan: Value = serde_json::from_str(&plan(&image, &steps)).expect("JSON");
    let nodes = &mut plan["graph"]["nodes"];
    nodes[1]["step"]["limits"] = json!({"memory": 256 << 20});
    nodes[2]["step"]["services"] = json!([{"name": "web", "image": image, "cmd": "sleep 1000"}]);
    world.write("p.json", &plan.to_string());
    let said = say(&world, &daemon, &["run", "--plan", "p.json", "--format", "json"]).expect(0);
    let lines: Vec<Value> = said
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|event: &Value| event["kind"] == "step_log")
        .collect();
    let text = |line: &Value| line["line"].as_str().unwrap_or_default().to_owned();
    let all: Vec<String> = lines.iter().map(text).collect();
    let is_there = |expected: &str| all.iter().any(|line| line == expected);
    for expected in ["SigBlk:\t0000000000000000", "127.0.0.1\tweb", "::1\tweb"] {
        assert!(is_there(expected), "{expected}: {all:?}");
    }
    // Busybox's shell runs `grep` in itself, and ignores SIGQUIT; the C library keeps another one for itself.
    let ignored = all.iter().find_map(|line| line.strip_prefix("SigIgn:\t"));
    let ignored = u64::from_str_radix(ignored.expect("a mask"), 16).expect("a mask");
    assert_eq!(ignored & !(1 << 2) & !(1 << 31), 0, "{all:?}");
    let drawn = lines.iter().filter(|line| text(line).contains("0%"));
    assert!(drawn.clone().count() > 1, "it is shown in its states: {all:?}");
}
