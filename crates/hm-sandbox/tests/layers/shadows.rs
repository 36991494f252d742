//! When a snapshot can be used over another source.

use std::fs;
use std::path::Path;

use super::support::*;
use hm_sandbox::layers::MAX_DEPTH;
use hm_vm::{SnapshotCheck, SnapshotId};

/// Whether the snapshot of a step can be used after the worktree changed, and why not.
fn after(step: impl FnOnce(&Path), change: impl FnOnce(&World)) -> Option<String> {
    let world = World::new();
    world.write("src/main.rs", "one");
    world.write("src/lib/a.rs", "a");
    world.write("README", "read me");
    let source = world.freeze();
    let (id, chain) = world.step(&image(), &source, step);
    let mut ids: Vec<SnapshotId> = vec![id];
    // The same must hold for one that stands above a merged layer.
    let mut chain = chain;
    for n in 0..=MAX_DEPTH {
        let (id, longer) = world.step(&chain, &source, |workspace| {
            write(&workspace.join(format!("own/{n}")), "")
        });
        chain = longer;
        if n == MAX_DEPTH {
            ids.push(id);
        }
    }
    assert!(chain.layers.len() < MAX_DEPTH);
    let source = world.freeze();
    for id in &ids {
        assert_eq!(
            world.store.check(id, &source).expect("check"),
            SnapshotCheck::Usable
        );
    }
    change(&world);
    let source = world.freeze();
    // As another process would: from the files.
    let store = open(world.dir.path());
    let mut verdicts = ids
        .iter()
        .map(|id| match store.check(id, &source).expect("check") {
            SnapshotCheck::Usable => None,
            SnapshotCheck::Stale(why) => Some(why),
            SnapshotCheck::Missing => panic!("{id} is missing"),
        });
    let verdict = verdicts.next().expect("one");
    assert!(
        verdicts.all(|other| other == verdict),
        "a merged layer changes nothing"
    );
    verdict
}

#[test]
fn a_step_that_patched_a_file_is_stale_once_that_file_changes() {
    if !can_mount() {
        return;
    }
    let patch = |workspace: &Path| write(&workspace.join("src/main.rs"), "patched");
    assert_eq!(after(patch, |world| world.write("src/lib/a.rs", "b")), None);
    assert_eq!(after(patch, |world| world.write("src/new.rs", "new")), None);
    let why = after(patch, |world| world.write("src/main.rs", "two"));
    assert_eq!(
        why.as_deref(),
        Some("src/main.rs, which this snapshot had overwritten, has changed")
    );
    assert!(
        after(patch, |world| fs::remove_file(world.worktree("src/main.rs"))
            .expect("remove"))
        .is_some()
    );
}

#[test]
fn a_step_that_deleted_a_file_is_stale_once_that_file_changes() {
    if !can_mount() {
        return;
    }
    let delete = |workspace: &Path| fs::remove_file(workspace.join("README")).expect("remove");
    assert_eq!(after(delete, |world| world.write("src/main.rs", "two")), None);
    assert!(after(delete, |world| world.write("README", "read this")).is_some());
}

#[test]
fn a_step_that_deleted_or_remade_a_directory_is_stale_once_anything_in_it_changes() {
    if !can_mount() {
        return;
    }
    let delete = |workspace: &Path| fs::remove_dir_all(workspace.join("src")).expect("remove");
    let remake = |workspace: &Path| {
        fs::remove_dir_all(workspace.join("src")).expect("remove");
        write(&workspace.join("src/other.rs"), "");
    };
    let replace = |workspace: &Path| {
        fs::remove_dir_all(workspace.join("src")).expect("remove");
        write(&workspace.join("src"), "a file now");
    };
    let steps: [&dyn Fn(&Path); 3] = [&delete, &remake, &replace];
    for step in steps {
        assert_eq!(after(step, |world| world.write("README", "2")), None);
        assert!(after(step, |world| world.write("src/lib/a.rs", "b")).is_some());
        assert!(after(step, |world| world.write("src/lib/new.rs", "")).is_some());
    }
}

#[test]
fn a_build_directory_is_stale_only_once_the_source_has_one_too() {
    if !can_mount() {
        return;
    }
    let build = |workspace: &Path| {
        for n in 0..200 {
            write(&workspace.join(format!("target/deps/{n}.o")), "");
        }
    };
    assert_eq!(after(build, |world| world.write("src/target", "")), None);
    let why = after(build, |world| world.write("target/x", "")).expect("stale");
    assert!(
        why.contains("target") && !why.contains("deps"),
        "one shadow for all of it: {why}"
    );
}

#[test]
fn a_directory_written_into_is_stale_once_it_is_no_directory() {
    if !can_mount() {
        return;
    }
    let generate = |workspace: &Path| write(&workspace.join("src/lib/generated.rs"), "");
    let why = after(generate, |world| {
        fs::remove_dir_all(world.worktree("src/lib")).expect("remove");
        world.write("src/lib", "a file now");
    });
    assert!(why.is_some());
    assert!(after(generate, |world| world.write("src/lib/generated.rs", "theirs")).is_some());
    assert_eq!(
        after(generate, |world| world.write("src/lib/b.rs", "theirs")),
        None
    );
}

#[test]
fn names_that_are_not_utf8_are_shadowed_too() {
    use std::os::unix::ffi::OsStrExt;
    if !can_mount() {
        return;
    }
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let make = |workspace: &Path| fs::write(workspace.join(name), "").expect("write");
    assert_eq!(after(make, |world| world.write("README", "2")), None);
    assert!(
        after(make, |world| fs::write(world.worktree("").join(name), "")
            .expect("write"))
        .is_some()
    );
}
