//! What `hm shell` sets up around a step: its services, its cache directories, its environment; and that nothing of it is
//! left. The same on both backends.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hm_docker::testing::{Dockerd, Reach};
use hm_oci::testing::ImageBuilder;
use serde_json::{Value, json};

use crate::harness::{Said, World};

/// What plans call the image: a repository's configuration may name a path, a plan may not.
const IMAGE: &str = "tiny:1";

/// A repository with a run that has failed, on one of the backends.
struct Site {
    world: World,
    daemon: Option<Dockerd>,
    /// In the environment of all that the plan runs.
    mark: String,
}

impl Site {
    fn new(daemon: Option<Dockerd>) -> Self {
        let world = World::new();
        let mark = format!("HM_TEST_MARK={}", world.path().display());
        let image = world.path().join("tiny.tar");
        fs::write(&image, ImageBuilder::busybox().build().docker_archive("tiny:1")).expect("an image");
        let config = format!("[images]\n\"{IMAGE}\" = \"{}\"\n", image.display());
        world.write(".hm/config.toml", &config);
        Self { world, daemon, mark }
    }

    /// A server of one word, at this port.
    fn server(&self, name: &str, scope: &str, port: u16, health: &str) -> Value {
        let serve = format!(
            "mkdir -p /srv; echo {name} > /srv/index.html; echo serving >&2; httpd -f -p {port} -h /srv"
        );
        json!({
            "name": name, "scope": scope, "image": IMAGE, "cmd": serve,
            "env": {"HM_TEST_MARK": self.world.path()},
            "health": {"cmd": health, "interval_seconds": 0.2, "timeout_seconds": 60},
        })
    }

    /// Runs a chain of which the second step fails.
    fn fail(&self) {
        let cache = json!([{"name": "deps", "path": "~/.cache/deps"}]);
        let fill = json!({
            "key": "fill", "caches": cache, "shell": "sh -e",
            "cmd": "echo first > ~/.cache/deps/file; echo base > base.txt; wget -q -O - http://store:8080/",
            "services": [self.server("store", "chain", 8080, "wget -q -O - http://store:8080/")],
        });
        let test = json!({
            "key": "test", "caches": cache, "shell": "sh -e", "secrets": [{"name": "TOKEN"}],
            "cmd": "wget -q -O - http://store:8080/; wget -q -O - http://web:8081/; echo left > left.txt; \
                    echo lost > ~/.cache/deps/lost; exit 3",
            "services": [self.server("web", "step", 8081, "wget -q -O - http://localhost:8081/")],
        });
        let nodes = json!([
            {"step": fill, "env": {}},
            {"step": test, "env": {"FROM_PLAN": "planned"}},
        ]);
        self.run(&nodes, &json!([[0, 1, "builds_in"]]), 3);
    }

    fn run(&self, nodes: &Value, edges: &Value, code: i32) {
        let graph = json!({"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": edges});
        let plan = json!({"version": "0", "default_image": IMAGE, "graph": graph});
        self.world.write("p.json", &plan.to_string());
        let mut run = self.command(&["run", "--plan", "p.json", "--format", "json", "--secret", "TOKEN"]);
        let said = self.world.say(run.env("TOKEN", "12345")).expect(1);
        let failed = format!("\"exit_code\":{code}");
        assert!(said.stdout().contains(&failed), "{said}");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        if let Some(daemon) = &self.daemon {
            command
                .env("DOCKER_HOST", daemon.host())
                .env("HM_BACKEND", "docker");
        }
        command
    }

    /// Runs a script of `sh` in a place of the run.
    fn shell(&self, place: &str, script: &str) -> Said {
        let mut command = self.command(&["shell", place, "--", "sh", "-c", script]);
        self.world.say(command.env("TOKEN", "12345"))
    }

    /// The processes that have the mark in their environment.
    fn processes(&self) -> Vec<u32> {
        let is_marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == self.mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("/proc");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(is_marked)
            .collect()
    }

    /// Fails the test when something is left of a shell that has ended.
    #[track_caller]
    fn nothing_is_left(&self, of: &str) {
        self.soon(&format!("the end of the services, {of}"), || {
            self.processes().is_empty()
        });
        if let Some(daemon) = &self.daemon {
            let left = daemon.inventory();
            let left = left.iter().filter(|thing| !thing.starts_with("image "));
            let left: Vec<&String> = left.collect();
            // The cache directory's current volume.
            assert_eq!(left.len(), 1, "{of}: {left:?}");
            return;
        }
        for place in ["stage", "live", "trash"] {
            let place = self.world.data().join("sandbox").join(place);
            let left = fs::read_dir(&place).into_iter().flatten().flatten();
            let left: Vec<_> = left.map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "{of}: {left:?}");
        }
        let mounts = hm_vm::testing::footprint::mounts_of(self.world.path());
        assert!(mounts.is_empty(), "{of}: {mounts:?}");
    }

    #[track_caller]
    fn soon(&self, what: &str, happened: impl Fn() -> bool) {
        let began = Instant::now();
        while !happened() {
            let late = began.elapsed() > Duration::from_secs(60);
            assert!(!late, "{what} never happened: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A shell that runs a command without an end.
    fn endless(&self) -> Child {
        let mut command = self.command(&["shell", "test", "--", "sh", "-c", "echo begun; sleep 1000"]);
        let mut child = command
            .env("TOKEN", "12345")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("hm starts");
        let mut first = [0; 5];
        let output = child.stdout.as_mut().expect("a pipe");
        output.read_exact(&mut first).expect("it begins");
        assert!(!self.processes().is_empty(), "its services run");
        child
    }
}

const SCRIPT: &str = "cat left.txt ~/.cache/deps/file; test -e ~/.cache/deps/lost || echo nothing lost; \
    echo more > ~/.cache/deps/more; wget -q -O - http://store:8080/; wget -q -O - http://web:8081/; \
    wget -q -O - http://localhost:8081/; echo \"$FROM_PLAN $CI ${#HM_RUN_ID} $PWD $(id -u) ${#TOKEN}\"";

fn a_shell_has_what_the_step_had(site: &Site) {
    site.fail();
    let said = site.shell("test", SCRIPT).expect(0);
    let seen = "left\nfirst\nnothing lost\nstore\nweb\nweb\nplanned true 36 /workspace 0 5\n";
    assert_eq!(said.stdout(), seen, "{said}");
    let words = said.stderr();
    for word in [
        "services web, store",
        "~/.cache/deps (copies",
        "secrets TOKEN",
        "store has nothing",
    ] {
        assert!(words.contains(word), "{word}: {said}");
    }
    site.nothing_is_left("after a command");

    let before = "test -e left.txt || echo clean; cat base.txt; test -e ~/.cache/deps/more || echo thrown away; \
                  wget -q -O - http://web:8081/";
    let run = site.world.newest();
    for place in ["test@before", &format!("{run}/test@before")] {
        let said = site.shell(place, before).expect(0);
        assert_eq!(said.stdout(), "clean\nbase\nthrown away\nweb\n", "{said}");
    }
    site.nothing_is_left("before");

    // Without the variable, the secret cannot be had, and a script is the step's shell's.
    let mut command = site.command(&["shell", "test"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("hm starts");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(b"echo ${#TOKEN}\nfalse\necho never\n")
        .expect("hm reads");
    drop(input);
    let output = child.wait_with_output().expect("hm ends");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(1), &b"0\n"[..]),
        "{words}"
    );
    assert!(
        words.contains("not as in the step: ") && words.contains("no secret TOKEN: "),
        "{words}"
    );
    site.nothing_is_left("after a script");
}

fn a_shell_that_is_ended_leaves_nothing(site: &Site) {
    for signal in ["-HUP", "-TERM", "-INT"] {
        let mut child = site.endless();
        send(signal, &child);
        child.wait().expect("hm ends");
        site.nothing_is_left(signal);
    }
    let mut child = site.endless();
    send("-KILL", &child);
    child.wait().expect("hm ends");
    site.soon("the end of the services after a kill", || {
        site.processes().is_empty()
    });
    // What does not run any more is removed by the next that does.
    site.shell("fill", "true").expect(0);
    site.nothing_is_left("-KILL");
}

fn a_terminal_that_is_left_leaves_nothing(site: &Site) {
    for ending in ["Ctrl-D", "hangup"] {
        let inside = format!("{} shell test; echo code=$?", env!("CARGO_BIN_EXE_hm"));
        let mut script = Command::new("script");
        script
            .args(["-qec", &inside, "/dev/null"])
            .current_dir(site.world.repo())
            .env_clear();
        for (name, value) in site.command(&[]).get_envs() {
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
        keys.write_all(b"wget -q -O - http://web:8081/ | tr w W\n")
            .expect("keys");
        // Only a shell that waits for a line again takes Ctrl-D for its end.
        wait_for(&mut screen, &mut seen, "Web\r\n[hm test@after] /workspace #");
        assert!(
            seen.contains("exit to leave") && seen.contains("not as in the step"),
            "{seen}"
        );
        if ending == "Ctrl-D" {
            keys.write_all(b"\x04").expect("keys");
            wait_for(&mut screen, &mut seen, "code=0");
        } else {
            // With it goes the terminal.
            child.kill().expect("a signal");
        }
        drop(keys);
        child.wait().expect("script ends");
        site.soon(&format!("the end of hm after {ending}"), || {
            let hm = format!("{}/data", site.world.path().display());
            !is_in_environments(&format!("HM_DATA_DIR={hm}"))
        });
        site.nothing_is_left(ending);
    }
}

fn a_service_that_cannot_be_used_keeps_nobody_out(site: &Site) {
    let mut web = site.server("web", "step", 8081, "false");
    web["health"]["timeout_seconds"] = 1.into();
    let step = json!({"key": "only", "cmd": "true", "services": [web], "secrets": [{"name": "TOKEN"}]});
    site.run(&json!([{"step": step, "env": {}}]), &json!([]), 1);
    let said = site.shell("only", "echo inside").expect(0);
    assert_eq!(said.stdout(), "inside\n");
    let words = said.stderr();
    assert!(
        words.contains("service `web` could not be used") && words.contains("| serving"),
        "{said}"
    );
}

/// Whether a process has a variable.
fn is_in_environments(variable: &str) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| fs::read(entry.path().join("environ")).ok())
        .any(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|one| one == variable.as_bytes())
        })
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
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

fn all(daemon: Option<Dockerd>) {
    let site = Site::new(daemon);
    a_shell_has_what_the_step_had(&site);
    a_shell_that_is_ended_leaves_nothing(&site);
    a_terminal_that_is_left_leaves_nothing(&site);
    a_service_that_cannot_be_used_keeps_nobody_out(&site);
}

#[test]
fn shell_in_the_sandbox_has_services_caches_and_environment_and_leaves_nothing() {
    all(None);
}

#[test]
fn shell_on_docker_has_services_caches_and_environment_and_leaves_nothing() {
    all(Some(Dockerd::start(Reach::Localhost)));
}
