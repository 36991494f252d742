//! What a sealed step is to the next.

use super::support::*;
use hm_vm::sandbox::layers::{MAX_DEPTH, WORKSPACE_PART};
use hm_vm::source::Source;
use hm_vm::{SnapshotCheck, VmError};

#[test]
fn a_step_sees_what_its_ancestors_wrote_above_the_source() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    world.write("src/main.rs", "one");
    let source = world.freeze();
    let (_, first) = world.step(&image(), &source, |workspace| {
        write(&workspace.join("target/out"), "built")
    });
    let (id, second) = world.step(&first, &source, |workspace| {
        assert_eq!(
            std::fs::read_to_string(workspace.join("target/out")).expect("parent's"),
            "built"
        );
        std::fs::remove_file(workspace.join("target/out")).expect("remove");
        write(&workspace.join("src/new.rs"), "new");
    });
    assert_eq!(second.layers.len(), 2);
    let loaded = open(world.dir.path()).load(&id).expect("load");
    assert_eq!(
        loaded.lower_dirs(WORKSPACE_PART),
        second.lower_dirs(WORKSPACE_PART)
    );
    assert_eq!(loaded.image, image().image);
    assert_eq!(loaded.parts(), [WORKSPACE_PART], "the other part is empty");

    // A new source below the very same layers.
    world.write("src/main.rs", "two");
    let source = world.freeze();
    assert_eq!(
        world.store.check(&id, &source).expect("check"),
        SnapshotCheck::Usable
    );
    let tree = world.tree(&loaded, &source);
    let content = |path: &str| {
        tree.get(std::path::Path::new(path))
            .map(|(_, content)| content.as_str())
    };
    assert_eq!(content("src/main.rs"), Some("two"));
    assert_eq!(content("src/new.rs"), Some("new"));
    assert_eq!(content("target"), Some(""));
    assert_eq!(content("target/out"), None);
}

#[test]
fn a_step_that_writes_nothing_gets_a_snapshot_without_a_layer() {
    let world = World::new();
    let source = Source::empty();
    let live = world.store.begin(&parts()).expect("begin");
    let (id, chain) = world.store.seal(live, &image(), &source).expect("seal");
    assert!(chain.layers.is_empty());
    assert_eq!(
        world.store.check(&id, &source).expect("check"),
        SnapshotCheck::Usable
    );
    assert!(children(&world.root().join("layers")).is_empty());
    assert_eq!(world.store.usage().expect("usage").snapshots, 1);
}

#[test]
fn a_work_directory_is_used_once() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let source = Source::empty();
    let mut live = world.store.begin(&parts()).expect("begin");
    let before = live.work(WORKSPACE_PART);
    write(&live.upper(WORKSPACE_PART).join("kept"), "");
    live.reset_work().expect("reset");
    assert_ne!(live.work(WORKSPACE_PART), before);
    assert!(live.work(WORKSPACE_PART).is_dir() && !before.exists());
    let (_, chain) = world.store.seal(live, &image(), &source).expect("seal");
    assert!(chain.lower_dirs(WORKSPACE_PART)[0].join("kept").exists());
}

#[test]
fn a_snapshot_that_is_not_there_or_damaged_is_missing() {
    let world = World::new();
    let source = Source::empty();
    let none = hm_vm::SnapshotId("none".into());
    assert!(matches!(
        world.store.load(&none),
        Err(VmError::SnapshotNotFound(_))
    ));
    assert_eq!(
        world.store.check(&none, &source).expect("check"),
        SnapshotCheck::Missing
    );
    for damage in ["snapshots", "layers"] {
        let live = world.store.begin(&parts()).expect("begin");
        write(&live.upper(WORKSPACE_PART).join("file"), "");
        let (id, _) = world.store.seal(live, &image(), &source).expect("seal");
        let path = match damage {
            "snapshots" => world.root().join(format!("snapshots/{id}.json")),
            _ => world.root().join(format!("layers/{id}/layer.bin")),
        };
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cut");
        let store = open(world.dir.path());
        assert_eq!(
            store.check(&id, &source).expect("check"),
            SnapshotCheck::Missing,
            "{damage}"
        );
        store.remove(&id).expect("a damaged one can be removed");
    }
}

#[test]
fn ten_children_of_a_full_chain_share_its_merged_layer() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let source = Source::empty();
    let mut chain = image();
    for n in 0..MAX_DEPTH {
        chain = world
            .step(&chain, &source, |workspace| {
                write(&workspace.join(format!("f{n}")), "")
            })
            .1;
    }
    assert_eq!(chain.layers.len(), MAX_DEPTH);
    let before = children(&world.root().join("layers")).len();
    for n in 0..10 {
        let (_, child) = world.step(&chain, &source, |workspace| {
            write(&workspace.join(format!("c{n}")), "")
        });
        assert!(child.layers.len() < MAX_DEPTH / 2, "{}", child.layers.len());
        assert_eq!(world.tree(&child, &source).len(), MAX_DEPTH + 1);
    }
    assert_eq!(
        children(&world.root().join("layers")).len(),
        before + 11,
        "ten of their own and one merged"
    );
}
