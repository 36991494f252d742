//! After `kill -9` of the process that runs steps, nothing of them is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hm_sandbox::SandboxBackend;
use hm_vm::testing::footprint::{Footprint, mounts_of, processes_with};
use hm_vm::{CacheMount, Cancel, ExecRequest, OutputChunk, PodRequest, SecretValue, VmBackend};
use tokio::sync::mpsc;

use super::persons::everyone;
use super::support::{Guard, PATIENCE, World, said};

const DATA: &str = "HM_TEST_DATA";
const MARKER: &str = "HM_TEST_MARKER";

everyone![
    nothing_is_left_after_kill_9,
    nothing_of_a_command_that_nobody_waits_for_is_left
];

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
        processes_with(&format!("sleep\0{marker}")).len() >= 6
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

    // What they wrote to their cache directory is not kept, and the one that they saw is in use no more.
    let caches = world.data.join("sandbox/caches/cache");
    assert_eq!(
        names(&caches.join("g")).len(),
        1,
        "{:?}",
        names(&caches.join("g"))
    );
    std::fs::create_dir_all(caches.join("g/new-half-made/files")).unwrap();
    std::fs::create_dir_all(caches.join("g/never-current/files")).unwrap();

    // The next run cleans up and works.
    let next = SandboxBackend::new(world.config.clone()).unwrap();
    next.reclaim().await.unwrap();
    assert_eq!(names(&world.data.join("sandbox/live")), Vec::<String>::new());
    assert_eq!(
        names(&caches.join("g")).len(),
        1,
        "{:?}",
        names(&caches.join("g"))
    );
    let ran = world
        .run(&cached("cat /var/cache/here/file; ls /var/cache/here"))
        .await;
    assert_eq!(ran.out(), "kept\nfile\n", "{}", said(&ran));
    assert!(next.remove_cache_directory("cache").await.unwrap() > 0);
    assert_eq!(world.passes("echo works").await, "works\n");
    next.reclaim().await.unwrap();
    world.backend.shutdown().await;
    assert_eq!(footprint.left(), Vec::<String>::new());
    let ran = world.sh("echo once more").await;
    assert_eq!(ran.out(), "once more\n", "{}", said(&ran));
}

/// What lies in a directory.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn cached(command: &str) -> ExecRequest {
    ExecRequest {
        caches: vec![CacheMount {
            name: "cache".into(),
            path: "/var/cache/here".into(),
            keep: hm_vm::CacheKeep::default(),
        }],
        ..ExecRequest::shell(command)
    }
}

/// A machine may be destroyed as soon as nobody waits for its command: nothing of it writes to what the next one gets.
async fn nothing_of_a_command_that_nobody_waits_for_is_left(world: &World) {
    let marker = format!("7{}", std::process::id());
    for _ in 0..5 {
        let vm = world.machine().await;
        let (output, mut chunks) = mpsc::channel::<OutputChunk>(4);
        let command =
            format!("for n in 1 2 3 4 5 6 7 8; do setsid sleep {marker} & done; echo begun; sleep {marker}");
        let request = cached(&command);
        {
            let command = vm.exec(&request, output, Cancel::new());
            let begun = async {
                assert!(chunks.recv().await.is_some());
            };
            tokio::select! {
                outcome = command => panic!("{outcome:?}"),
                () = begun => {}
            }
        }
        vm.destroy().await.unwrap();
        assert_eq!(processes_with(&format!("sleep\0{marker}")), Vec::<u32>::new());
    }
    let ran = world.run(&cached("ls -A /var/cache/here")).await;
    assert_eq!(ran.out(), "", "{}", said(&ran));
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
        world.run(&cached("echo kept > /var/cache/here/file")).await;
        let request = PodRequest {
            hosts: vec!["db".into()],
            ..PodRequest::default()
        };
        let pod = world.backend.open_pod(&request).await.unwrap();
        let command = "echo lost > /var/cache/here/file; echo x > /var/cache/here/x";
        let mut request = cached(&format!("{command}; setsid sleep {marker} & sleep {marker}"));
        request
            .secrets
            .files
            .insert("key".into(), SecretValue::new("value"));
        let alone = request.clone();
        request.pod = Some(pod);
        tokio::join!(world.run(&request), world.run(&request), world.run(&alone));
    });
}
