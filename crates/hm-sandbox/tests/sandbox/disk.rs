//! A step that fills the disk fails by itself, and the store stays as it was.

use hm_source::Source;
use hm_vm::{ExecRequest, KillReason, SnapshotCheck, VmBackend};

use super::persons::{everyone, is_root, on_a_small_disk};
use super::support::{World, run, said, sh};

everyone![
    a_step_over_its_limit_is_stopped,
    the_last_of_the_disk_is_kept_free
];

async fn a_step_over_its_limit_is_stopped(world: &World) {
    let mut request = ExecRequest::shell("head -c 100000000 /dev/zero > /workspace/big && sync; sleep 86400");
    request.limits.disk = Some(20_000_000);
    let ran = world.run(&request).await;
    assert_eq!(ran.outcome.killed, Some(KillReason::DiskFull), "{}", said(&ran));
    assert!(
        ran.outcome
            .notes
            .iter()
            .any(|note| note.contains("disk limit is 20000000")),
        "{:?}",
        ran.outcome.notes
    );
    request.argv[2] = "head -c 1000000 /dev/zero > /tmp/small && echo fits".into();
    assert_eq!(world.run(&request).await.out(), "fits\n");
}

async fn the_last_of_the_disk_is_kept_free(world: &World) {
    let full = World::with(world.directory.path(), |config| config.min_free = u64::MAX / 2);
    let ran = full
        .sh("head -c 50000000 /dev/zero > /tmp/big; sleep 86400")
        .await;
    assert_eq!(ran.outcome.killed, Some(KillReason::DiskFull), "{}", said(&ran));
    assert!(
        ran.outcome.notes.iter().any(|note| note.contains("nearly full")),
        "{:?}",
        ran.outcome.notes
    );
    // One that writes little is not to blame.
    let ran = full.sh("echo x > /tmp/x; sleep 1; cat /tmp/x").await;
    assert_eq!(ran.out(), "x\n", "{}", said(&ran));
}

#[test]
fn a_full_disk_harms_nothing() {
    if is_root() {
        on_a_small_disk("disk::a_full_disk_harms_nothing", "48m", fill);
    } else {
        hm_vm::testing::skip("only root can mount a small disk");
    }
}

async fn fill(world: &World) {
    let world = World::with(world.directory.path(), |config| config.min_free = 0);
    let mut vm = world.machine().await;
    assert_eq!(sh(vm.as_mut(), "echo kept > kept").await.code(), 0);
    let kept = vm.snapshot().await.unwrap();
    let fill = ExecRequest::shell("head -c 100000000 /dev/zero > /tmp/big");
    let ran = run(vm.as_mut(), &fill).await;
    assert_ne!(ran.code(), 0, "{}", said(&ran));
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("No space left"),
        "{}",
        said(&ran)
    );
    // A snapshot of a full disk may fail, with words; it does not take others along.
    let full = vm.snapshot().await;
    vm.destroy().await.unwrap();
    if let Ok(full) = full {
        world.backend.remove(&full.id).await.unwrap();
    }
    world.backend.reclaim().await.unwrap();
    let check = world.backend.check(&kept.id, &Source::empty()).await.unwrap();
    assert_eq!(check, SnapshotCheck::Usable);
    let mut vm = world.backend.restore(&kept.id).await.unwrap();
    vm.inject(std::sync::Arc::new(Source::empty())).await.unwrap();
    let ran = sh(vm.as_mut(), "cat kept && head -c 10000000 /dev/zero > /tmp/big").await;
    assert_eq!((ran.code(), ran.out().as_str()), (0, "kept\n"), "{}", said(&ran));
    vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
}
