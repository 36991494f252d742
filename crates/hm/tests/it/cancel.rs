//! Ctrl-C, `kill -9`, and a reader that goes away: nothing is left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::World;

/// Processes of every kind that a careless runner leaves behind; `MARK` tells them from everything else.
const MANY: &str = "sleep 1000 & setsid sleep 1000 & (trap '' INT TERM; sleep 1000) & wait";

/// A build that has begun to run its step, found in the process table by a variable of its environment.
struct Running {
    world: World,
    mark: String,
    child: Child,
    output: BufReader<ChildStdout>,
}

fn running() -> Running {
    running_step(MANY)
}

fn running_step(step: &str) -> Running {
    let step = format!("echo step-'runs'; {step}");
    let world = World::new();
    let mark = format!("HM_TEST_MARK={}", world.path().display());
    world.write("p.json", &World::plan(&[("a", &step, None)]));
    let mut command = world.command(&["run", "--plan", "p.json", "--format", "plain", "-e", &mark]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
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
    Running {
        world,
        mark,
        child,
        output,
    }
}

impl Running {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    /// The processes that have the mark in their environment, hm itself included.
    fn processes(&self) -> Vec<u32> {
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == self.mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("/proc");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(marked)
            .collect()
    }

    fn mounts(&self) -> usize {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        mounts
            .lines()
            .filter(|line| line.contains(&*self.world.path().to_string_lossy()))
            .count()
    }
}

/// Waits for what happens soon, with patience for a busy machine.
fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} never happened");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn one_interrupt_cancels_and_nothing_is_left() {
    let mut running = running();
    assert!(!running.processes().is_empty(), "the mark is seen");
    running.signal("-INT");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    assert_eq!(running.processes(), [0; 0], "processes are left");
    assert_eq!(running.mounts(), 0, "mounts are left");
    let stage = running.world.data().join("sandbox/stage");
    assert!(is_empty(&stage), "{} is not empty", stage.display());
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
    let stage = running.world.data().join("sandbox/stage");
    assert!(is_empty(&stage), "{} is not empty", stage.display());
    assert_eq!(running.mounts(), 0, "mounts are left");
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
