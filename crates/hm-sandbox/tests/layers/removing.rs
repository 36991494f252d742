//! Sizes, and what goes when a snapshot goes.

use std::fs;
use std::path::Path;

use super::support::*;
use hm_sandbox::layers::{FileOp, FileReply, MAX_DEPTH, perform};
use hm_source::Source;

#[test]
fn a_layer_goes_with_the_last_snapshot_that_has_it() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let source = Source::empty();
    let big = "x".repeat(100_000);
    let (first, chain) = world.step(&image(), &source, |workspace| write(&workspace.join("a"), &big));
    let (second, _) = world.step(&chain, &source, |workspace| write(&workspace.join("b"), &big));
    let layers = world.root().join("layers");
    assert_eq!(world.store.usage().expect("usage").bytes, blocks(&layers));
    assert_eq!(world.store.reclaimable(&first).expect("reclaimable"), 0);
    assert_eq!(world.store.remove(&first).expect("remove"), 0);
    assert_eq!(world.store.load(&second).expect("load").layers.len(), 2);
    let would = world.store.reclaimable(&second).expect("reclaimable");
    assert!(would >= 200_000, "{would}");
    let freed = world.store.remove(&second).expect("remove");
    assert!(freed >= would, "{freed} of {would}");
    assert!(children(&layers).is_empty());
    assert_eq!(world.store.usage().expect("usage").bytes, 0);
    assert_eq!(world.store.remove(&second).expect("once more"), 0);
}

#[test]
fn files_that_a_merged_layer_shares_count_once_and_stay_while_it_does() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let source = Source::empty();
    let mut chain = image();
    let mut ids = Vec::new();
    for n in 0..=MAX_DEPTH {
        let (id, longer) = world.step(&chain, &source, |workspace| {
            write(&workspace.join(format!("d/f{n}")), &"x".repeat(10_000));
            let _ = fs::hard_link(
                workspace.join(format!("d/f{n}")),
                workspace.join(format!("d/g{n}")),
            );
        });
        world.store.usage().expect("measured before it is merged");
        chain = longer;
        ids.push(id);
    }
    let layers = world.root().join("layers");
    // A share of an odd number of names is rounded down.
    let close = |a: u64, b: u64| a.abs_diff(b) < 4096 * 8;
    let (usage, real) = (world.store.usage().expect("usage").bytes, blocks(&layers));
    assert!(close(usage, real), "{usage} {real}");
    let last = ids.pop().expect("last");
    for id in ids {
        world.store.remove(&id).expect("remove");
    }
    assert_eq!(world.tree(&chain, &source).len(), 2 * (MAX_DEPTH + 1) + 1);
    let (usage, real) = (world.store.usage().expect("usage").bytes, blocks(&layers));
    assert!(close(usage, real), "{usage} {real}");
    world.store.remove(&last).expect("remove");
    assert!(children(&layers).is_empty());
}

#[test]
fn a_hostile_tree_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().expect("directory");
    let outside = dir.path().join("outside");
    write(&outside.join("precious"), "");
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("tree");
    std::os::unix::fs::symlink(&outside, tree.join("link")).expect("link");
    // Deeper than a path can say, made from the bottom up.
    for _ in 0..3000 {
        let above = dir.path().join("above");
        fs::create_dir(&above).expect("above");
        let deep = tree.join("deep");
        if deep.exists() {
            fs::rename(&deep, above.join("deep")).expect("rename");
        }
        fs::rename(&above, &deep).expect("rename");
    }
    let closed = tree.join("closed");
    write(&closed.join("file"), "");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("mode");
    let reply = perform(FileOp::RemoveTree {
        path: tree.clone().into(),
    })
    .expect("remove");
    assert!(
        matches!(reply, FileReply::Removed { denied: false, freed } if freed > 0),
        "{reply:?}"
    );
    assert_eq!(children(dir.path()), std::slice::from_ref(&outside));
    assert!(outside.join("precious").exists());
    let again = perform(FileOp::RemoveTree { path: tree.into() }).expect("remove");
    assert_eq!(
        again,
        FileReply::Removed {
            freed: 0,
            denied: false
        }
    );
}

#[test]
fn an_ordinary_user_removes_directories_of_any_mode() {
    let dir = tempfile::tempdir().expect("directory");
    let tree = dir.path().join("tree");
    for closed in ["a/b/c", "a/b", "a"] {
        write(&tree.join(closed).join("file"), "");
    }
    own(dir.path());
    for closed in ["a/b/c", "a/b", "a"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(tree.join(closed), mode).expect("mode");
    }
    let mut child = super::children::start_as_nobody("remove", dir.path());
    assert!(child.wait().expect("wait").success());
    assert!(!tree.exists());
}

#[test]
fn what_this_process_may_not_enter_is_done_by_one_that_may() {
    let dir = tempfile::tempdir().expect("directory");
    own(dir.path());
    let mut child = super::children::start_as_nobody("denied", dir.path());
    assert!(child.wait().expect("wait").success());
}

fn own(path: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("chown");
        if path.is_dir() {
            children(path).iter().for_each(|child| own(child));
        }
    }
}

#[test]
fn a_layer_that_nothing_names_goes_once_it_is_old() {
    let world = World::new();
    let source = Source::empty();
    let seal = || {
        let live = world.store.begin(&parts()).expect("begin");
        write(&live.upper("@workspace").join("file"), "");
        world.store.seal(live, &image(), &source).expect("seal").0
    };
    let (old, new, named) = (seal(), seal(), seal());
    let layer = |id: &hm_vm::SnapshotId| world.root().join("layers").join(&id.0);
    for id in [&old, &new] {
        fs::remove_file(world.root().join(format!("snapshots/{id}.json"))).expect("as if killed before");
    }
    for id in [&old, &named] {
        let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::open(layer(id))
            .and_then(|dir| dir.set_modified(hour_ago))
            .expect("time");
    }
    world.store.reclaim().expect("reclaim");
    assert!(!layer(&old).exists() && layer(&new).exists() && layer(&named).exists());
}
