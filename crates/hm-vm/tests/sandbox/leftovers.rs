//! After `kill -9` of the process that runs steps, nothing of them is left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hm_vm::VmBackend;
use hm_vm::sandbox::SandboxBackend;

use super::host::{self, Guard};
use super::persons::everyone;
use super::support::{PATIENCE, World, said};

const DATA: &str = "HM_TEST_DATA";
const MARKER: &str = "HM_TEST_MARKER";

everyone![nothing_is_left_after_kill_9];

/// Waits for what happens at once; only a broken sandbox makes it give up.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

async fn nothing_is_left_after_kill_9(world: &World) {
    let marker = format!("8{}", std::process::id());
    let child = Command::new("/proc/self/exe")
        .args(["--exact", "leftovers::child", "--ignored", "--quiet"])
        .env(DATA, &world.data)
        .env(MARKER, &marker)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Guard(child);
    until("the steps run", || {
        host::processes_with(&format!("sleep\0{marker}")).len() >= 4
    });
    let running = host::descendants(child.0.id());
    let names: Vec<_> = running.iter().map(host::Process::name).collect();
    assert!(running.len() >= 8, "{names:?}");
    let own = host::Process::cgroups(&running[0]);
    let namespaces: Vec<_> = running
        .iter()
        .filter_map(|process| process.namespace("net"))
        .collect();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    let cgroups: Vec<_> = running
        .iter()
        .flat_map(host::Process::cgroups)
        .filter(|line| !own.contains(line))
        .filter_map(|line| host::cgroup_directory(&line))
        .collect();
    assert!(namespaces.iter().any(|namespace| *namespace != ours));

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    until("its processes end", || !running.iter().any(host::Process::runs));
    assert_eq!(
        host::processes_with(&format!("sleep\0{marker}")),
        Vec::<u32>::new()
    );
    let left = host::network_namespaces();
    for namespace in namespaces.iter().filter(|namespace| **namespace != ours) {
        assert!(!left.contains(namespace), "{}", namespace.display());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*world.data.to_string_lossy()), "{mounts}");

    // The next run cleans up and works.
    let next = SandboxBackend::new(world.config.clone()).unwrap();
    next.reclaim().await.unwrap();
    assert_eq!(machines(&world.data), Vec::<String>::new());
    assert_eq!(world.passes("echo works").await, "works\n");
    next.reclaim().await.unwrap();
    world.backend.shutdown().await;
    for cgroup in cgroups {
        assert!(!cgroup.exists(), "{} is left", cgroup.display());
    }
    let ran = world.sh("echo once more").await;
    assert_eq!(ran.out(), "once more\n", "{}", said(&ran));
}

/// What lies in the directory of machines that are in use.
fn machines(data: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(data.join("sandbox/live")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
#[ignore = "started by other tests, in a process of its own"]
fn child() {
    let (Some(data), Ok(marker)) = (std::env::var_os(DATA), std::env::var(MARKER)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::with(Path::new(&data).parent().unwrap(), |config| {
            config.data_dir = data.clone().into();
        });
        let command = format!("setsid sleep {marker} & sleep {marker}");
        tokio::join!(world.sh(&command), world.sh(&command));
    });
}
