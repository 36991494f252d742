//! Limits of memory and of processes, where this machine has cgroups to keep them by.

use std::path::Path;

use hm_vm::testing::footprint::processes_with;
use hm_vm::{ExecRequest, ExitStatus, KillReason, OutputChunk};

use hm_vm::testing::skip;

use super::persons::{everyone, is_root};
use super::support::{World, run, said};

everyone![
    a_limit_is_kept_or_said_not_to_be,
    processes_and_processors_are_limited_or_said_not_to_be,
    a_step_that_waited_for_its_network_ends_on_its_own,
    limits_are_visible_in_the_step,
    step_is_the_first_for_the_oom_killer,
    step_starts_within_any_hard_limit,
];

async fn a_limit_is_kept_or_said_not_to_be(world: &World) {
    let mut request = ExecRequest::shell("");
    let program = "data = b'x' * 400_000_000\nprint(len(data))";
    request.argv = ["/usr/bin/python3", "-I", "-c", program].map(Into::into).into();
    request.limits.memory = Some(100_000_000);
    let mut vm = world.machine().await;
    let ran = run(vm.as_mut(), &request).await;
    let told = ran
        .outcome
        .notes
        .iter()
        .any(|note| note.contains("memory limit is not enforced"));
    let killed = ran.outcome.killed == Some(KillReason::OutOfMemory);
    assert_ne!(killed, told, "{}", said(&ran));
    assert_eq!(
        killed,
        ran.outcome.status != ExitStatus::Code(0),
        "{}",
        said(&ran)
    );
    // The next step has the machine, and its limits, for itself.
    request.limits.memory = None;
    let ran = run(vm.as_mut(), &request).await;
    assert_eq!(
        (ran.out().as_str(), ran.outcome.killed),
        ("400000000\n", None),
        "{}",
        said(&ran)
    );
    assert!(ran.outcome.notes.is_empty(), "{:?}", ran.outcome.notes);
    vm.destroy().await.unwrap();
    if is_root() && std::path::Path::new("/sys/fs/cgroup").exists() {
        assert!(killed, "root has cgroups here");
    }
}

/// The cgroup files of a process that runs with this in its command line, by their controller.
fn cgroup_file(marker: &str, controller: &str, files: &[&str]) -> Option<String> {
    let pid = *processes_with(marker).first()?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let directories = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let mounted = match controllers {
            "" => vec!["unified".to_owned(), String::new()],
            _ if controllers.split(',').any(|one| one == controller) => {
                vec![controllers.to_owned(), controller.to_owned()]
            }
            _ => return None,
        };
        let place = |name: String| Path::new("/sys/fs/cgroup").join(name).join(path);
        Some(mounted.into_iter().map(place).collect::<Vec<_>>())
    });
    let mut places = directories.flatten();
    places.find_map(|place| {
        files
            .iter()
            .find_map(|file| std::fs::read_to_string(place.join(file)).ok())
    })
}

async fn processes_and_processors_are_limited_or_said_not_to_be(world: &World) {
    let marker = format!("limited-{}", uuid::Uuid::new_v4().simple());
    let program = format!(
        "# {marker}\nimport os, time\nmade = 0\nfor number in range(40):\n    try: pid = os.fork()\n    \
         except OSError: break\n    if pid == 0: time.sleep(86400)\n    made += 1\nprint(made, flush=True)\n\
         time.sleep(86400)"
    );
    let mut request = ExecRequest::shell("");
    request.argv = ["/usr/bin/python3", "-I", "-c", &program].map(Into::into).into();
    request.limits.pids = Some(20);
    request.limits.cpus = Some(0.5);
    let vm = world.machine().await;
    let (sender, mut chunks) = tokio::sync::mpsc::channel::<OutputChunk>(4);
    let cancel = hm_vm::Cancel::new();
    let look = async {
        let made = chunks.recv().await.unwrap().bytes;
        let quota = cgroup_file(&marker, "cpu", &["cpu.max", "cpu.cfs_quota_us"]);
        cancel.kill();
        while chunks.recv().await.is_some() {}
        (
            String::from_utf8_lossy(&made).trim().parse::<u32>().unwrap(),
            quota,
        )
    };
    let (outcome, (made, quota)) = tokio::join!(vm.exec(&request, sender, cancel.clone()), look);
    let notes = outcome.unwrap().notes;
    vm.destroy().await.unwrap();
    let told = |name: &str| {
        notes
            .iter()
            .any(|note| note.contains(&format!("the {name} limit is not enforced")))
    };
    if told("pids") {
        assert_eq!(made, 40, "{notes:?}");
    } else {
        assert!(made < 20, "{made} processes");
    }
    let limited = quota.is_some_and(|quota| quota.starts_with("50000"));
    assert_ne!(limited, told("cpu"), "{notes:?}");
    if is_root() {
        assert!(!told("pids") && !told("cpu"), "root has cgroups here: {notes:?}");
    }
}

/// Two steps wait for a network; the first to get one runs on and on, and must not keep the other's output open.
async fn a_step_that_waited_for_its_network_ends_on_its_own(world: &World) {
    let cancel = hm_vm::Cancel::new();
    let first = world.machine().await;
    let mut second = world.machine().await;
    let (sender, mut chunks) = tokio::sync::mpsc::channel::<OutputChunk>(4);
    let forever = ExecRequest::shell("echo begun; sleep 86400");
    let short = async {
        let ran = run(second.as_mut(), &ExecRequest::shell("echo short")).await;
        assert!(chunks.recv().await.is_some(), "the other one runs");
        cancel.kill();
        ran
    };
    let (outcome, ran) = tokio::join!(first.exec(&forever, sender, cancel.clone()), short);
    assert_eq!(outcome.unwrap().killed, Some(KillReason::Canceled));
    assert_eq!(ran.out(), "short\n");
    first.destroy().await.unwrap();
    second.destroy().await.unwrap();
}

async fn limits_are_visible_in_the_step(world: &World) {
    let files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes";
    let mut request = ExecRequest::shell(format!(
        "cat {files} 2>/dev/null; touch /sys/fs/cgroup/made 2>/dev/null && echo written; true"
    ));
    request.limits.memory = Some(256 << 20);
    let ran = world.run(&request).await;
    if ran.outcome.notes.iter().any(|note| note.contains("not enforced")) {
        // The step is told that its limit is not enforced; there is nothing to see.
        return;
    }
    assert_eq!(ran.out(), "268435456\n", "{}", said(&ran));
}

async fn step_is_the_first_for_the_oom_killer(world: &World) {
    let own = || std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let before = own();
    assert_eq!(world.passes("cat /proc/self/oom_score_adj").await, "1000\n");
    assert_eq!(own(), before);
}

async fn step_starts_within_any_hard_limit(world: &World) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    for (resource, most) in [(Resource::Nproc, 8000), (Resource::Nofile, 1000)] {
        let bound = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, bound).unwrap();
    }
    assert_eq!(world.passes("ulimit -n; ulimit -Hn").await, "1000\n1000\n");
}

/// A cgroup around this test and all that it starts, so that nothing else of the machine is harmed.
struct Bound(std::path::PathBuf);

impl Bound {
    fn of_memory(bytes: u64) -> Option<Self> {
        let directory =
            Path::new("/sys/fs/cgroup/memory").join(format!("hm-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&directory).ok()?;
        let bound = Self(directory);
        std::fs::write(bound.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        std::fs::write(bound.0.join("cgroup.procs"), "0").ok()?;
        Some(bound)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = std::fs::write("/sys/fs/cgroup/memory/cgroup.procs", "0");
        let _ = std::fs::remove_dir(&self.0);
    }
}

async fn allocates_without_end(world: &World) {
    let other = "import time; data = b'x' * 100_000_000; time.sleep(600)";
    let other = std::process::Command::new("/usr/bin/python3")
        .args(["-I", "-c", other])
        .spawn()
        .unwrap();
    let mut other = super::support::Guard(other);
    let ran = world
        .python("data = []\nwhile True: data.append(b'x' * 10_000_000)")
        .await;
    assert_eq!(
        ran.outcome.killed,
        Some(KillReason::OutOfMemory),
        "{}",
        said(&ran)
    );
    assert!(
        ran.outcome
            .notes
            .iter()
            .any(|note| note.contains("out of memory")),
        "{}",
        said(&ran)
    );
    assert!(other.0.try_wait().unwrap().is_none(), "the other program was hit");
    assert_eq!(world.passes("echo next").await, "next\n");
}

#[test]
fn step_that_allocates_without_end_dies_alone_as_root() {
    match Bound::of_memory(600 << 20) {
        Some(_bound) => super::persons::as_root(allocates_without_end),
        None => skip("no memory cgroup of version 1 can bound this test"),
    }
}

#[test]
fn step_that_allocates_without_end_dies_alone_as_user() {
    let bound = Bound::of_memory(600 << 20);
    if bound.is_none() && is_root() {
        skip("no memory cgroup of version 1 can bound this test");
        return;
    }
    let name = concat!(
        module_path!(),
        "::step_that_allocates_without_end_dies_alone_as_user"
    );
    if is_root() || std::env::var_os("HM_TEST_AGAIN").is_some() {
        super::persons::as_user(name, allocates_without_end);
    } else {
        skip("only root can bound this test");
    }
}
