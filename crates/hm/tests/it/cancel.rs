//! An ordinary end, Ctrl-C, `kill -9`, and a reader that goes away: nothing is left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use hm_vm::testing::footprint::{Footprint, mounts_of};

use crate::harness::World;

/// Processes of every kind that a careless runner leaves behind; `MARK` tells them from everything else.
const MANY: &str = "sleep 1000 & setsid sleep 1000 & (trap '' INT TERM; sleep 1000) & wait";

/// A build that has begun to run its step, found in the process table by a variable of its environment.
struct Running {
    world: World,
    mark: String,
    child: Child,
    output: BufReader<ChildStdout>,
    footprint: Footprint,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails must not leave what it has started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn running() -> Running {
    running_step(MANY)
}

fn running_step(step: &str) -> Running {
    let step = format!("echo step-'runs'; {step}");
    let world = World::new();
    let mark = format!("HM_TEST_MARK={}", world.path().display());
    world.write("p.json", &World::plan(&[("a", &step, None)]));
    let temporary = world.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut command = world.command(&["run", "--plan", "p.json", "--format", "plain", "-e", &mark]);
    let mut child = command
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let footprint = Footprint::below(child.id());
    let mut running = Running {
        world,
        mark,
        child,
        output,
        footprint,
    };
    let mut line = String::new();
    while !line.contains("step-runs") {
        line.clear();
        let read = running.output.read_line(&mut line).expect("hm speaks");
        assert!(read > 0, "the step never started");
    }
    running.footprint = Footprint::below(running.child.id());
    let names = running.footprint.names();
    assert!(names.len() >= 3, "{names:?}");
    assert!(running.footprint.network_namespaces() > 0);
    running
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.expect("kill").success());
}

/// The processes that have the mark in their environment, hm itself included.
fn marked(mark: &str) -> Vec<u32> {
    let is_marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| variable == mark.as_bytes())
    };
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(is_marked)
        .collect()
}

impl Running {
    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    fn processes(&self) -> Vec<u32> {
        marked(&self.mark)
    }

    /// Fails the test when hm has ended and something is left of its run, beside its record and its snapshots.
    #[track_caller]
    fn leaves_nothing(&self) {
        let processes = self.processes().into_iter().map(|pid| format!("process {pid}"));
        let mut left: Vec<_> = processes.collect();
        for place in [
            "tmp",
            "data/sandbox/stage",
            "data/sandbox/live",
            "data/sandbox/trash",
        ] {
            let entries = fs::read_dir(self.world.path().join(place));
            left.extend(
                entries
                    .into_iter()
                    .flatten()
                    .map(|entry| entry.expect("an entry").path().display().to_string()),
            );
        }
        assert_eq!(left, [""; 0]);
        // The kernel ends what gives steps their network once the supervisor is gone; nobody waits for that.
        soon("the end of all that the run had", || {
            self.footprint.left().is_empty() && mounts_of(self.world.path()).is_empty()
        });
    }
}

/// How long a busy machine may take for what happens at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what happens soon.
fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "{what} never happened");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_that_passes_leaves_nothing() {
    let mut running = running_step("sleep 1000 & setsid sleep 1000 & sleep 4242; echo written > file");
    let mut held = None;
    soon("the step's last process", || {
        let mut processes = running.processes().into_iter();
        held = processes.find(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\x004242"))
        });
        held.is_some()
    });
    signal("-KILL", held.expect("a process"));
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(0));
    running.leaves_nothing();
}

#[test]
fn one_interrupt_cancels_and_nothing_is_left() {
    let mut running = running();
    assert!(!running.processes().is_empty(), "the mark is seen");
    running.signal("-INT");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    running.leaves_nothing();
    let listed = running.world.hm(&["builds", "--json"]).expect(0).stdout();
    assert!(listed.contains("\"canceled\""), "{listed}");
}

#[test]
fn a_termination_cancels_too() {
    let mut running = running();
    running.signal("-TERM");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    assert_eq!(running.processes(), [0; 0], "processes are left");
}

#[test]
fn after_a_kill_nothing_runs_on_and_the_next_run_cleans_up() {
    let mut running = running();
    running.signal("-KILL");
    running.child.wait().expect("hm ends");
    soon("the end of the step's processes", || {
        running.processes().is_empty()
    });
    let listed = running.world.hm(&["builds", "--json"]).expect(0).stdout();
    assert!(listed.contains("\"killed\""), "{listed}");
    running
        .world
        .write("next.json", &World::plan(&[("b", "true", None)]));
    running.world.hm(&["run", "--plan", "next.json"]).expect(0);
    running.leaves_nothing();
}

#[test]
fn a_closed_pipe_ends_a_build_that_goes_on_talking() {
    let world = World::new();
    world.write("p.json", &World::plan(&[("a", "yes", None)]));
    let mut command = world.command(&["run", "--plan", "p.json", "--format", "json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("hm speaks");
    let output = child.wait_with_output().expect("hm ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "it ends quietly");
}

#[test]
fn two_interrupts_end_a_build_whose_reader_is_stuck() {
    let mut running = running_step("yes");
    // From here on nobody reads, so hm cannot come to an end by itself.
    let pipe = running.output.get_ref();
    let mut before = 0;
    soon("a full pipe", || {
        let held = rustix::io::ioctl_fionread(pipe).expect("a pipe");
        let full = held > 0 && held == before;
        before = held;
        std::thread::sleep(Duration::from_millis(200));
        full
    });
    running.signal("-INT");
    let mut said = String::new();
    let mut errors = BufReader::new(running.child.stderr.take().expect("a pipe"));
    errors.read_line(&mut said).expect("hm speaks");
    assert_eq!(said, "canceling; once more to kill\n");
    running.signal("-INT");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    soon("the end of the step's processes", || {
        running.processes().is_empty()
    });
}

#[test]
fn canceled_step_has_its_grace_and_is_kept() {
    let mut running =
        running_step("trap 'sleep 0.3; echo bye; echo written > left; exit 3' TERM; sleep 1000 & wait");
    running.signal("-INT");
    let mut shown = String::new();
    std::io::Read::read_to_string(&mut running.output, &mut shown).expect("text");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    assert!(shown.contains("bye"), "{shown}");
    running.leaves_nothing();
    let left = running
        .world
        .hm(&["shell", "a", "--", "cat", "left"])
        .expect(0)
        .stdout();
    assert_eq!(left, "written\n");
}

#[test]
fn timed_out_step_has_its_grace() {
    let world = World::new();
    world.write(
        "p.json",
        r#"{"version": "0", "graph": {"nodes": [{"step": {"key": "a", "timeout_seconds": 1, "grace_seconds": 20,
            "cmd": "trap 'echo written > left; exit 0' TERM; sleep 1000 & wait"}, "env": {}}],
            "node_holes": [], "edge_property": "directed", "edges": []}}"#,
    );
    let ran = world
        .hm(&["run", "--plan", "p.json", "--format", "plain"])
        .expect(1)
        .stdout();
    assert!(ran.contains("ran into its timeout of 1 s"), "{ran}");
    world.hm(&["shell", "a", "--", "cat", "left"]).expect(0);
}

#[test]
fn second_interrupt_kills_a_step_in_its_grace() {
    let mut running = running_step("trap 'echo handled' TERM; while :; do sleep 1; done");
    running.signal("-INT");
    let mut line = String::new();
    while !line.contains("handled") {
        line.clear();
        let read = running.output.read_line(&mut line).expect("hm speaks");
        assert!(read > 0, "the step was not terminated");
    }
    running.signal("-INT");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    running.leaves_nothing();
}

#[test]
fn no_grace_kills_at_once() {
    let world = World::new();
    let step = "trap 'echo handled' TERM; echo begun; while :; do sleep 1; done";
    world.write("p.json", &World::plan(&[("a", step, None)]));
    let ran = world.hm(&[
        "run",
        "--plan",
        "p.json",
        "--format",
        "plain",
        "--timeout",
        "2s",
        "--grace",
        "0",
    ]);
    let shown = ran.expect(124).stdout();
    assert!(shown.contains("begun") && !shown.contains("handled\n"), "{shown}");
}

#[test]
fn step_that_ended_while_hm_was_stopped_passed() {
    let world = World::new();
    world.write(
        "p.json",
        r#"{"version": "0", "graph": {"nodes": [{"step": {"key": "a", "timeout_seconds": 3, "cmd": "echo step-'runs'; sleep 1"},
            "env": {}}], "node_holes": [], "edge_property": "directed", "edges": []}}"#,
    );
    let mut command = world.command(&["run", "--plan", "p.json", "--format", "plain"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut shown = String::new();
    while !shown.contains("step-runs") {
        assert!(output.read_line(&mut shown).expect("hm speaks") > 0, "{shown}");
    }
    signal("-STOP", child.id());
    std::thread::sleep(Duration::from_secs(4));
    signal("-CONT", child.id());
    std::io::Read::read_to_string(&mut output, &mut shown).expect("text");
    assert_eq!(child.wait().expect("hm ends").code(), Some(0), "{shown}");
    assert!(!shown.contains("timeout"), "{shown}");
}

#[test]
fn steps_ignore_no_signal() {
    let world = World::new();
    let step = "for signal in INT QUIT HUP TERM PIPE USR1; do sh -c \"kill -$signal \\$\\$; echo survived $signal\"; done; \
                grep -E '^Sig(Ign|Blk)' /proc/self/status; true";
    world.write("p.json", &World::plan(&[("a", step, None)]));
    let hm = world.command(&["run", "--plan", "p.json", "--format", "plain"]);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("trap '' HUP INT QUIT USR1; kill -HUP $$; exec \"$@\"")
        .arg("sh");
    command.arg(hm.get_program()).args(hm.get_args());
    for (name, value) in hm.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(hm.get_current_dir().expect("a directory"));
    let output = command.output().expect("hm runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!shown.contains("] survived"), "{shown}");
    for mask in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(shown.contains(mask), "{shown}");
    }
}

#[test]
fn plan_of_one_step_starts_one_network() {
    if !std::path::Path::new("/usr/bin/pasta").exists() {
        hm_vm::testing::skip("pasta is not installed");
        return;
    }
    let world = World::new();
    world.write(
        "p.json",
        &World::plan(&[("a", "echo step-'runs'; sleep 2", None)]),
    );
    let mut command = world.command(&["run", "--plan", "p.json", "--format", "plain"]);
    command.env("HM_PARALLELISM", "1000000").stdout(Stdio::piped());
    let mut child = command.spawn().expect("hm starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("step-runs") {
        line.clear();
        assert!(
            output.read_line(&mut line).expect("hm speaks") > 0,
            "the step never started"
        );
    }
    std::thread::sleep(Duration::from_millis(500));
    let networks = Footprint::below(child.id());
    let pastas = networks
        .names()
        .iter()
        .filter(|name| name.contains("pasta"))
        .count();
    let ended = std::io::copy(&mut output, &mut std::io::sink());
    assert!(ended.is_ok() && child.wait().expect("hm ends").success());
    assert!(pastas <= 1, "{pastas} networks: {:?}", networks.names());
}

/// Fifty times at a random moment, on the backend that `HM_BACKEND` names, or the sandbox.
#[test]
fn interrupt_at_any_moment_leaves_nothing() {
    let world = World::new();
    let mark = format!("HM_TEST_MARK={}", world.path().display());
    world.write(
        "p.json",
        &World::plan(&[("a", "sleep 0.2; echo a > a", None), ("b", MANY, Some("a"))]),
    );
    let temporary = world.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut longest = Duration::ZERO;
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..50 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = Duration::from_millis(random % 1500);
        let mut command = world.command(&["run", "--plan", "p.json", "--format", "plain", "-e", &mark]);
        command.envs(std::env::var_os("HM_BACKEND").map(|backend| ("HM_BACKEND", backend)));
        command
            .env("TMPDIR", &temporary)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("hm starts");
        std::thread::sleep(moment);
        let footprint = Footprint::below(child.id());
        let began = Instant::now();
        signal("-INT", child.id());
        let status = child.wait().expect("hm ends");
        longest = longest.max(began.elapsed());
        // Before it handles signals, it ends by this one.
        let ended =
            status.code() == Some(130) || std::os::unix::process::ExitStatusExt::signal(&status) == Some(2);
        assert!(ended, "round {round}, after {moment:?}: {status}");
        assert_eq!(marked(&mark), [0; 0], "round {round}, after {moment:?}");
        for place in [
            "tmp",
            "data/sandbox/stage",
            "data/sandbox/live",
            "data/sandbox/trash",
        ] {
            let entries = fs::read_dir(world.path().join(place));
            let left: Vec<_> = entries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            assert!(left.is_empty(), "round {round}, after {moment:?}: {left:?}");
        }
        soon("the end of all that the run had", || {
            footprint.left().is_empty() && mounts_of(world.path()).is_empty()
        });
    }
    eprintln!("the longest end took {longest:?}");
}
