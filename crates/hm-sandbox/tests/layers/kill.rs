//! `kill -9` at any moment.

use std::time::Duration;

use super::children;
use super::support::*;
use hm_sandbox::layers::WORKSPACE_PART;
use hm_source::Source;
use hm_vm::SnapshotCheck;

#[test]
fn a_killed_process_leaves_whole_snapshots_and_the_rest_is_reclaimed() {
    let world = World::new();
    let source = Source::empty();
    for round in 0..20u64 {
        let mut children: Vec<_> = (0..2)
            .map(|_| children::start("seal-forever", world.dir.path()))
            .collect();
        std::thread::sleep(Duration::from_millis(20 + round * 4));
        // While they live, nothing of theirs is taken away.
        world.store.reclaim().expect("reclaim");
        for child in &mut children {
            assert!(child.try_wait().expect("wait").is_none(), "it failed by itself");
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
        let store = open(world.dir.path());
        for (id, _) in store.snapshots().expect("snapshots") {
            assert_eq!(store.check(&id, &source).expect("check"), SnapshotCheck::Usable);
            let chain = store.load(&id).expect("load");
            for dir in chain.lower_dirs(WORKSPACE_PART) {
                assert!(dir.is_dir(), "{} is not there", dir.display());
            }
            let files: usize = chain
                .lower_dirs(WORKSPACE_PART)
                .iter()
                .map(|dir| tree(dir).len())
                .sum();
            assert!(files > 0);
        }
        store.reclaim().expect("reclaim");
        assert_eq!(children_of(&world, "live"), 0);
        assert_eq!(children_of(&world, "trash"), 0);
    }
    assert!(
        !world.store.snapshots().expect("snapshots").is_empty(),
        "the children had time to seal something"
    );
}

#[test]
fn dropping_the_store_removes_what_was_in_the_making() {
    let world = World::new();
    let store = open(world.dir.path());
    let live = store.begin(&parts()).expect("begin");
    write(&live.upper(WORKSPACE_PART).join("file"), "");
    let kept = store.begin(&parts()).expect("begin");
    world.store.reclaim().expect("another process's reclaim");
    assert!(live.upper(WORKSPACE_PART).join("file").exists());
    drop(live);
    store.discard(kept).expect("discard");
    drop(store);
    assert_eq!(children_of(&world, "live"), 0);
    assert_eq!(children_of(&world, "trash"), 0);
}

fn children_of(world: &World, dir: &str) -> usize {
    super::support::children(&world.root().join(dir)).len()
}
