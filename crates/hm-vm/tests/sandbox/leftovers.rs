//! After `kill -9` of the process that runs steps, nothing of them is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hm_vm::VmBackend;
use hm_vm::sandbox::SandboxBackend;
use hm_vm::testing::footprint::{Footprint, mounts_of, processes_with};

use super::persons::everyone;
use super::support::{Guard, PATIENCE, World, said};

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
        processes_with(&format!("sleep\0{marker}")).len() >= 4
    });
    let footprint = Footprint::below(child.0.id());
    assert!(footprint.names().len() >= 8, "{:?}", footprint.names());
    assert!(footprint.network_namespaces() > 0);

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    until("its processes end", || footprint.running().is_empty());
    assert_eq!(processes_with(&format!("sleep\0{marker}")), Vec::<u32>::new());
    let others = |left: &String| !left.starts_with("cgroup");
    assert_eq!(footprint.left().into_iter().find(others), None);
    assert_eq!(mounts_of(&world.data), BTreeSet::new());

    // The next run cleans up and works.
    let next = SandboxBackend::new(world.config.clone()).unwrap();
    next.reclaim().await.unwrap();
    assert_eq!(machines(&world.data), Vec::<String>::new());
    assert_eq!(world.passes("echo works").await, "works\n");
    next.reclaim().await.unwrap();
    world.backend.shutdown().await;
    assert_eq!(footprint.left(), Vec::<String>::new());
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
