//! Sandboxes within a step, where the configuration allows them.

use super::persons::everyone;
use super::support::{World, said};

everyone![
    refused_user_namespace_is_explained,
    user_namespaces_are_made_where_nesting_is_allowed,
    nesting_reveals_and_raises_nothing,
];

fn nested(world: &World) -> World {
    World::with(world.directory.path(), |config| config.nested = true)
}

async fn refused_user_namespace_is_explained(world: &World) {
    let ran = world.fails("unshare -Ur true").await;
    let notes = &ran.outcome.notes;
    assert!(
        notes.iter().any(|note| note.contains("--nested")),
        "{}",
        said(&ran)
    );
    let ran = nested(world).fails("unshare -Ur false").await;
    assert_eq!(ran.outcome.notes, [""; 0], "{}", said(&ran));
}

async fn user_namespaces_are_made_where_nesting_is_allowed(world: &World) {
    let world = nested(world);
    for command in [
        "unshare -Ur true",
        "unshare -Urm sh -c 'mkdir -p /mnt; mount -t tmpfs none /mnt && touch /mnt/x'",
        "unshare -Urmnpif --uts sh -c 'hostname inner && test $$ = 1'",
        "unshare -Urm sh -c 'mkdir /tmp/root && mount --rbind / /tmp/root && chroot /tmp/root true'",
    ] {
        world.passes(command).await;
    }
    if std::path::Path::new("/usr/bin/bwrap").exists() {
        world
            .passes(
                "bwrap --ro-bind / / --dev /dev --tmpfs /tmp --unshare-user --unshare-pid --unshare-net true",
            )
            .await;
    }
}

async fn nesting_reveals_and_raises_nothing(world: &World) {
    let world = nested(world);
    for command in [
        // Without a namespace of its own, a step is who it was.
        "mount -t tmpfs none /mnt",
        "umount /proc/sys",
        "nsenter -t 1 -m true",
        "dmesg",
        // Nor does one let it at what is the machine's.
        "unshare -Urm umount /proc/sys",
        "unshare -Urm mount -o remount,bind,rw /proc/sys",
        "unshare -Ur sh -c 'echo x > /proc/sys/kernel/core_pattern'",
        "unshare -Urmpf mount -t proc none /mnt",
        "unshare -Urm mount -t cgroup2 none /mnt",
        "unshare -UrCm sh -c 'mount -t cgroup2 none /mnt && echo max > /mnt/memory.max'",
        "unshare -UrCm sh -c 'mount -t cgroup2 none /mnt && echo max > /mnt/pids.max'",
        "unshare -UrCm sh -c 'mount -t cgroup -o memory none /mnt && echo -1 > /mnt/memory.limit_in_bytes'",
        "unshare -Urm umount ~/.cargo/bin",
        "unshare -Ur dmesg",
        "unshare -Ur mknod /tmp/mem c 1 1",
        "unshare -Ur python3 -c 'open(\"/proc/1/environ\")'",
    ] {
        world.fails(&format!("mkdir -p /mnt; {command}")).await;
    }
    let calls = [
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_open_by_handle_at,
    ];
    let ran = world.python(&super::kernel::calls(&calls)).await;
    let expected: String = calls
        .iter()
        .map(|number| format!("{number} -1 {}\n", libc::EPERM))
        .collect();
    assert_eq!(ran.out(), expected, "{}", said(&ran));
}
