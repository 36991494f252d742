//! What goes, in which order, and what stays.

use super::backend::{FileBackend, assert_valid, budget, registry, used};
use hm_snapshots::{Budget, Registry};
use hm_vm::{SnapshotId, VmBackend};

fn ids(registry: &Registry) -> Vec<String> {
    registry
        .list()
        .expect("list")
        .into_iter()
        .map(|record| record.id.0)
        .collect()
}

/// Snapshots a, b, c, ... of 1000 bytes each, a used longest ago.
fn filled(data: &std::path::Path, count: u8) -> (Registry, FileBackend, Vec<SnapshotId>) {
    let (registry, backend) = (registry(data), FileBackend::new(data));
    let mut snapshots = Vec::new();
    for n in 0..count {
        let id = backend.take(&char::from(b'a' + n).to_string(), 1000);
        registry.record(&format!("{n:016x}"), &id).expect("record");
        used(&registry, &id, 1000 - u64::from(n));
        snapshots.push(id);
    }
    (registry, backend, snapshots)
}

#[tokio::test]
async fn those_used_longest_ago_go_first_and_their_keys_with_them() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, snapshots) = filled(data.path(), 5);
    registry.touch(&snapshots[0]).expect("touch");
    let collected = registry.collect(&backend, &budget(2500)).await.expect("collect");
    assert_eq!(
        (collected.removed, collected.freed, collected.elsewhere),
        (3, 3000, false)
    );
    assert_eq!(ids(&registry), ["e", "a"]);
    assert_eq!(registry.lookup(&format!("{:016x}", 1)).expect("lookup"), None);
    assert_eq!(
        std::fs::read_dir(registry.root().join("keys"))
            .expect("keys")
            .count(),
        2
    );
    assert!(!backend.has(&snapshots[1]));
    assert_valid(&registry, &backend);
}

#[tokio::test]
async fn of_snapshots_used_at_one_time_the_child_goes_before_its_parent() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend) = (registry(data.path()), FileBackend::new(data.path()));
    let mut chain = Vec::new();
    for name in ["parent", "child", "grandchild"] {
        chain.push(backend.take(name, 1000));
        registry.register(&chain[chain.len() - 1]).expect("register");
        // The records' clock counts milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    registry.touch_all(&chain).expect("touch");
    registry.collect(&backend, &budget(1000)).await.expect("collect");
    assert_eq!(ids(&registry), ["parent"]);
}

#[tokio::test]
async fn a_pinned_snapshot_stays_until_its_lease_ends() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, snapshots) = filled(data.path(), 3);
    let lease = registry.lease().expect("lease");
    assert!(lease.pin(&snapshots[0]).expect("pin"));
    registry.collect(&backend, &budget(0)).await.expect("collect");
    assert_eq!(ids(&registry), ["a"]);
    assert!(!lease.pin(&snapshots[1]).expect("pin"), "it is gone");
    registry.clean(&backend).await.expect("clean");
    assert_eq!(ids(&registry), ["a"]);
    drop(lease);
    registry.clean(&backend).await.expect("clean");
    assert!(ids(&registry).is_empty());
    assert!(!backend.has(&snapshots[0]));
}

async fn directories(backend: &FileBackend) -> Vec<String> {
    let mut directories = backend.cache_directories().await.expect("directories");
    directories.sort_by_key(|directory| directory.used);
    directories.into_iter().map(|directory| directory.name).collect()
}

#[tokio::test]
async fn cache_directories_share_the_budget_and_go_in_their_turn() {
    let data = tempfile::tempdir().expect("directory");
    // Used 1000, 999 and 998 seconds ago.
    let (registry, backend, _) = filled(data.path(), 3);
    backend.keep_directory("oldest", 1000, 2000);
    backend.keep_directory("between", 1000, 999 - 1);
    backend.keep_directory("young", 1000, 10);
    used(&registry, &SnapshotId("c".into()), 20);
    let collected = registry.collect(&backend, &budget(4500)).await.expect("collect");
    assert_eq!(
        (collected.removed, collected.directories, collected.freed),
        (1, 1, 2000)
    );
    assert_eq!(directories(&backend).await, ["between", "young"]);
    assert_eq!(ids(&registry), ["b", "c"]);
    registry.collect(&backend, &budget(1000)).await.expect("collect");
    assert_eq!(directories(&backend).await, ["young"]);
    assert!(ids(&registry).is_empty());
    let collected = registry.clean(&backend).await.expect("clean");
    assert_eq!((collected.directories, collected.freed), (1, 1000));
    assert!(directories(&backend).await.is_empty());
}

#[tokio::test]
async fn the_floor_holds_for_cache_directories_too() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, _) = filled(data.path(), 1);
    backend.keep_directory("large", 5000, 5000);
    let tight = Budget {
        max_bytes: 0,
        floor_bytes: 2000,
        min_free_bytes: 0,
    };
    let collected = registry.collect(&backend, &tight).await.expect("collect");
    assert_eq!((collected.removed, collected.directories), (0, 0));
    assert_eq!(directories(&backend).await, ["large"]);
}

#[tokio::test]
async fn cleaning_stops_before_the_floor_even_on_a_full_disk() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, _) = filled(data.path(), 5);
    let full = Budget {
        max_bytes: u64::MAX,
        floor_bytes: 2500,
        min_free_bytes: u64::MAX,
    };
    registry.collect(&backend, &full).await.expect("collect");
    assert_eq!(ids(&registry), ["c", "d", "e"]);
    let full = Budget {
        max_bytes: 0,
        floor_bytes: 0,
        min_free_bytes: 0,
    };
    registry.collect(&backend, &full).await.expect("collect");
    assert!(ids(&registry).is_empty());
}

#[tokio::test]
async fn a_snapshot_that_nobody_registered_goes_once_it_is_old() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, _) = filled(data.path(), 1);
    let (old, new) = (backend.take("old", 1), backend.take("new", 1));
    backend.age(&old);
    let collected = registry
        .collect(&backend, &budget(u64::MAX))
        .await
        .expect("collect");
    assert_eq!(collected.removed, 1);
    assert!(!backend.has(&old) && backend.has(&new));
    assert_eq!(ids(&registry), ["a"]);
}

#[tokio::test]
async fn a_damaged_record_or_key_is_a_miss_and_goes() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, snapshots) = filled(data.path(), 3);
    let key = |n: u8| format!("{n:016x}");
    std::fs::write(registry.root().join("snapshots/a"), b"hm1 u\nfoo").expect("damage");
    std::fs::write(registry.root().join("keys").join(key(1)), b"../../etc").expect("damage");
    std::fs::write(registry.root().join("keys").join(key(2)), b"").expect("damage");
    for n in 0..3 {
        assert_eq!(registry.lookup(&key(n)).expect("lookup"), None, "key {n}");
        assert!(!registry.root().join("keys").join(key(n)).exists());
    }
    assert!(!registry.lease().expect("lease").pin(&snapshots[0]).expect("pin"));
    backend.age(&snapshots[0]);
    registry
        .collect(&backend, &budget(u64::MAX))
        .await
        .expect("collect");
    assert_eq!(ids(&registry), ["b", "c"]);
    assert!(
        !backend.has(&snapshots[0]),
        "it is a snapshot that nobody registered"
    );
    assert_valid(&registry, &backend);
}

#[tokio::test]
async fn what_an_earlier_boot_left_unflushed_is_a_miss_and_goes() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend, snapshots) = filled(data.path(), 2);
    let of_another_boot = |id: &SnapshotId| {
        let path = registry.root().join("snapshots").join(&id.0);
        let text = std::fs::read_to_string(&path).expect("record");
        let (word, sealed) = text.split_once('\n').expect("two parts");
        let content = hm_fs::unseal(sealed.as_bytes()).expect("a whole record");
        let content = std::str::from_utf8(content).expect("text");
        let (_, rest) = content.split_once('\n').expect("lines");
        let sealed = hm_fs::seal(format!("another-boot\n{rest}").as_bytes());
        std::fs::write(&path, [word.as_bytes(), b"\n", &sealed].concat()).expect("record");
    };
    of_another_boot(&snapshots[0]);
    assert_eq!(registry.lookup(&format!("{:016x}", 0)).expect("lookup"), None);
    assert_eq!(
        registry.mark_synced().expect("sync"),
        1,
        "only the one that is of this boot"
    );
    of_another_boot(&snapshots[1]);
    assert_eq!(
        registry.lookup(&format!("{:016x}", 1)).expect("lookup"),
        Some(snapshots[1].clone())
    );
    assert_eq!(registry.mark_synced().expect("sync"), 0);
    registry
        .collect(&backend, &budget(u64::MAX))
        .await
        .expect("collect");
    assert_eq!(ids(&registry), ["b"]);
    assert!(!backend.has(&snapshots[0]));
}
