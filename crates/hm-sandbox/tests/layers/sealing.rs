//! What a sealed step is to the next.

use super::support::*;
use hm_sandbox::layers::{MAX_DEPTH, WORKSPACE_PART};
use hm_source::Source;
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
fn a_seal_that_fails_says_that_what_was_written_is_lost() {
    let world = World::new();
    let live = world.store.begin(&parts()).expect("begin");
    write(&live.upper(WORKSPACE_PART).join("file"), "");
    // Where layers are to lie is a file, so that none can be put there.
    write(&world.root().join("layers"), "");
    let Err(error) = world.store.seal(live, &image(), &Source::empty()) else {
        panic!("sealed into a file");
    };
    assert!(matches!(error, VmError::NotSealed { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("thrown away") && message.contains("cannot rename"),
        "{message}"
    );
    world.store.flush();
    let runs = children(&world.root().join("live"));
    assert_eq!(runs.len(), 1);
    assert_eq!(children(&runs[0]), [runs[0].join("lock")]);
    assert!(children(&world.root().join("trash")).is_empty());
}

#[test]
fn a_store_whose_directory_is_gone_does_not_make_it_again() {
    let world = World::new();
    let live = world.store.begin(&parts()).expect("begin");
    std::fs::remove_dir_all(world.root()).expect("remove");
    drop(live);
    let root = world.root();
    let World {
        dir: _directory,
        store,
    } = world;
    drop(store);
    assert!(!root.exists(), "{} is back", root.display());
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
