//! How commands end on an engine, and what they find there.

use std::sync::Arc;
use std::time::Duration;

use hm_oci::testing::ImageBuilder;
use hm_source::{SourceOptions, SourceStore};
use hm_vm::{
    CacheMount, Cancel, ExecRequest, ImageReference, KillReason, Network, OutputChunk, PodRequest, VmError,
};
use tokio::sync::mpsc;

use crate::support::{Engine, World};

/// Each case is a test of its own in all but the engine that it starts.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_runs_steps() {
    let engine = Engine::docker();
    let world = World::new(&engine);
    eprintln!("command_beside_one_that_ends_at_once_is_no_error");
    command_beside_one_that_ends_at_once_is_no_error(&world).await;
    eprintln!("files_of_a_step_do_not_keep_its_container");
    files_of_a_step_do_not_keep_its_container(&world).await;
    eprintln!("step_that_removed_its_shell_fails_alone");
    step_that_removed_its_shell_fails_alone(&world).await;
    eprintln!("cache_directory_counts_as_disk");
    cache_directory_counts_as_disk(&world).await;
    eprintln!("shared_memory_is_as_large_as_elsewhere");
    shared_memory_is_as_large_as_elsewhere(&world).await;
    eprintln!("pod_has_its_names_on_both_loopbacks");
    pod_has_its_names_on_both_loopbacks(&world).await;
    eprintln!("image_whose_volume_hides_the_source_is_refused");
    image_whose_volume_hides_the_source_is_refused(&world).await;
    eprintln!("source_name_that_marks_a_removal_hides_nothing");
    source_name_that_marks_a_removal_hides_nothing(&world).await;
    eprintln!("words_of_a_shell_about_a_signal_are_not_the_commands");
    words_of_a_shell_about_a_signal_are_not_the_commands(&world).await;
}

/// A service may end while its health check is about to begin.
async fn command_beside_one_that_ends_at_once_is_no_error(world: &World) {
    let vm = world.machine().await;
    for delay in ["0", "0.02", "0.05", "0.1", "0.2", "0.3"] {
        let cancel = Cancel::new();
        let main = async {
            let ran = world
                .sh(vm.as_ref(), &format!("echo up; sleep {delay}; exit 4"))
                .await;
            cancel.kill();
            ran
        };
        let check = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (sender, mut chunks) = mpsc::channel::<OutputChunk>(4);
            let request = ExecRequest::shell("true");
            let drain = async { while chunks.recv().await.is_some() {} };
            let (outcome, ()) = tokio::join!(vm.exec(&request, sender, cancel.clone()), drain);
            outcome
        };
        let (ran, check) = tokio::join!(main, check);
        assert_eq!(ran.code(), 4, "{ran:?}");
        assert!(check.is_ok(), "after {delay} s: {check:?}");
    }
    vm.destroy().await.unwrap();
}

async fn files_of_a_step_do_not_keep_its_container(world: &World) {
    let vm = world.machine().await;
    let command = "for x in x y. 1 .1; do : > /dev/shm/.hm-beside-$x; done; exit 5";
    assert_eq!(world.sh(vm.as_ref(), command).await.code(), 5);
    vm.destroy().await.unwrap();
}

async fn step_that_removed_its_shell_fails_alone(world: &World) {
    let mut vm = world.machine().await;
    let ran = world.sh(vm.as_ref(), "rm /bin/sh").await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    let vm = world.backend.restore(&snapshot.id).await.unwrap();
    let ran = world.sh(vm.as_ref(), "true").await;
    assert_eq!(ran.code(), 127, "{ran:?}");
    assert!(ran.outcome.notes.concat().contains("`sh`"), "{ran:?}");
    vm.destroy().await.unwrap();
    world.backend.remove(&snapshot.id).await.unwrap();
}

async fn cache_directory_counts_as_disk(world: &World) {
    let vm = world.machine().await;
    let mut request = ExecRequest::shell(
        "sleep 1.5; dd if=/dev/zero of=/var/cache/steps/big bs=1M count=40 2> /dev/null; sleep 5000",
    );
    request.limits.disk = Some(20 << 20);
    request.caches = vec![CacheMount {
        name: "steps".into(),
        path: "/var/cache/steps".into(),
        keep: hm_vm::CacheKeep::default(),
    }];
    let ran = world.run(vm.as_ref(), &request).await;
    assert_eq!(ran.outcome.killed, Some(KillReason::DiskFull), "{ran:?}");
    vm.destroy().await.unwrap();
}

async fn shared_memory_is_as_large_as_elsewhere(world: &World) {
    let vm = world.machine().await;
    let ran = world.sh(vm.as_ref(), "df -k /dev/shm | tail -n 1").await;
    let out = ran.out();
    let size: u64 = out.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(size > 64 * 1024, "{out}");
    vm.destroy().await.unwrap();
}

async fn pod_has_its_names_on_both_loopbacks(world: &World) {
    let request = PodRequest {
        network: Network::None,
        hosts: vec!["db".into()],
    };
    let pod = world.backend.open_pod(&request).await.unwrap();
    let vm = world.machine().await;
    let mut request = ExecRequest::shell("grep -w db /etc/hosts");
    request.pod = Some(pod.clone());
    let out = world.run(vm.as_ref(), &request).await.out();
    assert!(out.contains("127.0.0.1") && out.contains("::1"), "{out}");
    vm.destroy().await.unwrap();
    world.backend.close_pod(&pod).await.unwrap();
}

async fn image_whose_volume_hides_the_source_is_refused(world: &World) {
    for (volume, refused) in [("/workspace", true), ("/workspace/sub/", true), ("/data", false)] {
        let file = world.directory.path().join("volume.tar");
        let built = ImageBuilder::busybox().config("Volumes", serde_json::json!({ volume: {} }));
        std::fs::write(&file, built.build().docker_archive("volume:1")).unwrap();
        let image = ImageReference::new(file.to_string_lossy());
        let image = world.backend.resolve(&image).await.unwrap();
        match world.backend.create(&image).await {
            Ok(vm) => {
                assert!(!refused, "{volume}");
                vm.destroy().await.unwrap();
            }
            Err(error) => {
                assert!(refused && matches!(error, VmError::Unsupported { .. }), "{error}");
                assert!(error.to_string().contains("VOLUME /workspace"), "{error}");
            }
        }
    }
}

async fn source_name_that_marks_a_removal_hides_nothing(world: &World) {
    let tree = world.directory.path().join("marks");
    std::fs::create_dir_all(tree.join("a")).unwrap();
    std::fs::write(tree.join("a/b"), "b\n").unwrap();
    std::fs::write(tree.join("a/.wh.b"), "w\n").unwrap();
    let store = SourceStore::new(world.directory.path().join("marked"));
    let source = Arc::new(store.freeze(&tree, &SourceOptions::default()).unwrap());
    let vm = world.machine_with(source).await;
    assert_eq!(world.sh(vm.as_ref(), "cat a/b").await.out(), "b\n");
    vm.destroy().await.unwrap();
}

async fn words_of_a_shell_about_a_signal_are_not_the_commands(world: &World) {
    let vm = world.machine().await;
    let ran = world.sh(vm.as_ref(), "kill -9 $$").await;
    assert_eq!((ran.code(), ran.stderr.as_slice()), (137, &b""[..]), "{ran:?}");
    vm.destroy().await.unwrap();
}
