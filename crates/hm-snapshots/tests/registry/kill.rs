//! `kill -9` at any moment.

use std::time::Duration;

use super::backend::{FileBackend, assert_valid, budget, registry};
use super::children;

#[tokio::test]
async fn a_killed_process_leaves_the_registry_valid_and_its_pins_go_with_it() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend) = (registry(data.path()), FileBackend::new(data.path()));
    for round in 0..25u64 {
        let mut children: Vec<_> = (0..2)
            .map(|n| children::start("work-forever", data.path(), round * 2 + n))
            .collect();
        // Each at another moment of its work.
        tokio::time::sleep(Duration::from_millis(15 + round * 3)).await;
        for child in &mut children {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
        // A killed one may have condemned a snapshot: the next cleaner finishes that, none is half gone.
        registry
            .collect(&backend, &budget(u64::MAX))
            .await
            .expect("collect");
        assert_valid(&registry, &backend);
        assert!(registry.list().expect("list").iter().all(|record| !record.pinned));
    }
    assert!(
        !registry.list().expect("list").is_empty(),
        "the children had time to record something"
    );
    registry.collect(&backend, &budget(0)).await.expect("collect");
    assert!(registry.list().expect("list").is_empty());
    let left = std::fs::read_dir(registry.root().join("keys"))
        .expect("keys")
        .count();
    assert_eq!(left, 0, "keys that point nowhere");
}
