//! What root's overlays can do and an ordinary user's cannot: renamed directories, and files with several names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hm_fs::Marks;
use hm_sandbox::layers::{LayerChain, WORKSPACE_PART};
use hm_vm::SnapshotCheck;

use super::support::*;

/// Skips the test where the overlays are not root's.
fn is_root() -> bool {
    let trusted = Marks::of_process() == Marks::Trusted;
    if !trusted {
        hm_vm::testing::skip("only root's overlays rename directories of lower layers");
    }
    trusted
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("file")
}

#[test]
fn source_directory_renamed_is_the_step_s_own_from_then_on() {
    if !is_root() {
        return;
    }
    let world = World::new();
    world.write("src/inner/file", "one");
    world.write("src/patched", "one");
    world.write("src/removed", "one");
    let first = world.freeze();
    let (id, chain) = world.step(&image(), &first, |workspace| {
        write(&workspace.join("src/patched"), "patched");
        fs::rename(workspace.join("src"), workspace.join("renamed")).expect("rename");
        fs::remove_file(workspace.join("renamed/removed")).expect("remove");
        fs::rename(workspace.join("renamed/inner"), workspace.join("renamed/outer")).expect("rename");
    });
    let seen = world.tree(&chain, &first);
    let has = |name: &str| seen.keys().any(|path| path.ends_with(name));
    assert!(has("renamed/outer/file"), "{seen:?}");
    assert!(!has("removed") && !has("src") && !has("inner"), "{seen:?}");
    assert_eq!(
        world.store.check(&id, &first).expect("check"),
        SnapshotCheck::Usable
    );
    // What was renamed is no part of today's source any more.
    world.write("src/inner/file", "two");
    let second = world.freeze();
    assert!(matches!(
        world.store.check(&id, &second).expect("check"),
        SnapshotCheck::Stale(_)
    ));
    // Another file beside it is.
    world.write("src/inner/file", "one");
    world.write("beside", "new");
    let third = world.freeze();
    assert_eq!(
        world.store.check(&id, &third).expect("check"),
        SnapshotCheck::Usable
    );
    world.step(&chain, &third, |workspace| {
        assert_eq!(read(workspace.join("renamed/outer/file")), "one");
        assert_eq!(read(workspace.join("renamed/patched")), "patched");
        assert_eq!(read(workspace.join("beside")), "new");
    });
}

#[test]
fn parent_directory_renamed_shares_its_files() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let source = world.freeze();
    let (_, one) = world.step(&image(), &source, |workspace| {
        write(&workspace.join("out/a/deep/file"), "one");
        write(&workspace.join("out/b"), "one");
    });
    let (_, two) = world.step(&one, &source, |workspace| {
        fs::rename(workspace.join("out/a"), workspace.join("moved")).expect("rename");
        write(&workspace.join("moved/deep/more"), "two");
        fs::rename(workspace.join("out"), workspace.join("target")).expect("rename");
    });
    let (_, three) = world.step(&two, &source, |workspace| {
        assert!(!workspace.join("out").exists());
        assert!(!workspace.join("target/a").exists());
        assert_eq!(read(workspace.join("target/b")), "one");
        assert_eq!(read(workspace.join("moved/deep/file")), "one");
        assert_eq!(read(workspace.join("moved/deep/more")), "two");
        fs::rename(workspace.join("moved"), workspace.join("out")).expect("rename");
    });
    let file = |chain: &LayerChain, path: &str| {
        let layer = chain.layers[0].part_dir(WORKSPACE_PART).expect("a part");
        fs::metadata(layer.join(path)).expect("file").ino()
    };
    assert_eq!(file(&one, "out/a/deep/file"), file(&two, "moved/deep/file"));
    world.step(&three, &source, |workspace| {
        assert_eq!(read(workspace.join("out/deep/file")), "one");
    });
}

#[test]
fn file_with_two_names_stays_one_across_steps() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let source = world.freeze();
    let (_, one) = world.step(&image(), &source, |workspace| {
        write(&workspace.join("a"), "one");
        fs::create_dir_all(workspace.join("d/e")).expect("directories");
        fs::hard_link(workspace.join("a"), workspace.join("d/e/b")).expect("link");
        fs::hard_link(workspace.join("a"), workspace.join("gone")).expect("link");
        write(&workspace.join("other"), "one");
        fs::hard_link(workspace.join("other"), workspace.join("another")).expect("link");
    });
    let (_, two) = world.step(&one, &source, |workspace| {
        fs::remove_file(workspace.join("gone")).expect("remove");
        fs::write(workspace.join("a"), "two").expect("write");
        assert_eq!(read(workspace.join("d/e/b")), "two");
        // What replaces a name is another file.
        fs::remove_file(workspace.join("other")).expect("remove");
        write(&workspace.join("other"), "two");
    });
    world.step(&two, &source, |workspace| {
        assert_eq!(read(workspace.join("d/e/b")), "two");
        let inode = |path: &str| fs::metadata(workspace.join(path)).expect("file").ino();
        assert_eq!(inode("a"), inode("d/e/b"));
        assert!(!workspace.join("gone").exists());
        assert_eq!(read(workspace.join("another")), "one");
        fs::write(workspace.join("d/e/b"), "three").expect("write");
        assert_eq!(read(workspace.join("a")), "three");
    });
}

#[test]
fn file_with_two_names_is_found_after_its_directory_was_renamed() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let source = world.freeze();
    let (_, one) = world.step(&image(), &source, |workspace| {
        write(&workspace.join("d/a"), "one");
        fs::hard_link(workspace.join("d/a"), workspace.join("b")).expect("link");
    });
    let (_, two) = world.step(&one, &source, |workspace| {
        fs::rename(workspace.join("d"), workspace.join("e")).expect("rename");
        fs::write(workspace.join("b"), "two").expect("write");
        assert_eq!(read(workspace.join("e/a")), "two");
    });
    world.step(&two, &source, |workspace| {
        assert_eq!(read(workspace.join("e/a")), "two");
        assert_eq!(read(workspace.join("b")), "two");
    });
}
