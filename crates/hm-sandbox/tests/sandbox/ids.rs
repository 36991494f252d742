//! Users inside a step: root, and others where there are ids for them.

use std::path::Path;

use hm_vm::VmBackend;

use super::persons::everyone;
use super::support::{World, said, sh};

everyone![
    a_step_is_root_and_others_where_there_are_ids,
    what_others_own_is_kept_and_removed,
];

/// How many ids a step has.
const COUNT: &str =
    "n=0; while read -r inside outside count; do n=$((n + count)); done < /proc/self/uid_map; echo $n";

async fn a_step_is_root_and_others_where_there_are_ids(world: &World) {
    assert_eq!(world.passes("id -u; id -g; whoami").await, "0\n0\nroot\n");
    let ids: u64 = world.passes(COUNT).await.trim().parse().unwrap();
    let become_another = "touch /tmp/owned && chown 33:34 /tmp/owned && stat -c %u:%g /tmp/owned && \
                          setpriv --reuid 33 --regid 34 --clear-groups sh -c 'id -u; cat /tmp/owned; \
                          ! echo x > /etc/not-allowed'";
    let ran = world.sh(become_another).await;
    if ids > 1 {
        assert_eq!(
            (ran.code(), ran.out().as_str()),
            (0, "33:34\n33\n"),
            "{}",
            said(&ran)
        );
    } else {
        assert_ne!(ran.code(), 0, "{}", said(&ran));
    }
    // What a user's step owns on the host is the user's, never root's.
    if !super::persons::is_root() {
        let map = world.passes("cat /proc/self/uid_map").await;
        let outside = map.split_whitespace().nth(1).unwrap();
        assert_eq!(outside, rustix::process::getuid().as_raw().to_string());
        assert!(
            !map.lines()
                .any(|line| line.split_whitespace().nth(1) == Some("0"))
        );
    }
}

async fn what_others_own_is_kept_and_removed(world: &World) {
    let mut vm = world.machine().await;
    let command = "mkdir -p closed/deep && echo x > closed/deep/file && (chown -R 33:34 closed || true) && \
                   chmod 4755 closed/deep/file && chmod 000 closed/deep closed && mkfifo pipe && ln -s / link";
    let ran = sh(vm.as_mut(), command).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let seen = "stat -c '%a %u' closed closed/deep/file; cat closed/deep/file; test -p pipe && readlink link";
    let before = sh(vm.as_mut(), seen).await.out();
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    let mut vm = world.backend.restore(&snapshot.id).await.unwrap();
    vm.inject(std::sync::Arc::new(hm_source::Source::empty()))
        .await
        .unwrap();
    let ran = sh(vm.as_mut(), seen).await;
    assert_eq!(ran.out(), before, "{}", said(&ran));
    assert!(before.contains("4755") && before.ends_with("x\n/\n"), "{before}");
    let ran = sh(vm.as_mut(), "rm -rf closed && mkdir again && chmod 000 again").await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    vm.destroy().await.unwrap();
    assert!(world.backend.remove(&snapshot.id).await.unwrap() > 0);
    world.backend.reclaim().await.unwrap();
    for directory in ["layers", "trash"] {
        let left = entries(&world.data.join("sandbox").join(directory));
        assert!(left.is_empty(), "{directory}: {left:?}");
    }
}

fn entries(directory: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.file_name()).collect()
}
