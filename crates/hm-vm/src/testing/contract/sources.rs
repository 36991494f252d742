//! The source: a layer of its own, always current.

use super::Subject;
use super::subject::{leaves, passes};
use crate::SnapshotCheck;

/// The source's files are in `/workspace`, and what a machine writes over them stays in that machine.
pub async fn the_source_lies_in_the_workspace(subject: &Subject) {
    let source = subject.source(&[("a.txt", "a"), ("deep/er/b.txt", "b")]).await;
    let mut vm = subject.machine_with(source.clone()).await;
    assert_eq!(
        passes(vm.as_mut(), "cat a.txt; cat deep/er/b.txt; cat /workspace/a.txt").await,
        "aba"
    );
    passes(vm.as_mut(), "echo mine > a.txt; rm deep/er/b.txt").await;
    vm.destroy().await.expect("it is destroyed");
    let mut vm = subject.machine_with(source).await;
    assert_eq!(passes(vm.as_mut(), "cat a.txt; cat deep/er/b.txt").await, "ab");
    vm.destroy().await.expect("it is destroyed");
}

/// A snapshot holds what was written, and never the source that was there at that time.
pub async fn the_source_is_exchanged_under_a_snapshot(subject: &Subject) {
    let before = subject
        .source(&[("a.txt", "old"), ("gone.txt", "x"), ("dir/kept.txt", "kept")])
        .await;
    let command = "cat a.txt > built; cat a.txt > dir/built";
    let snapshot = leaves(subject.machine_with(before).await, command).await;
    let now = subject
        .source(&[
            ("a.txt", "new"),
            ("dir/kept.txt", "kept"),
            ("dir/more.txt", "more"),
        ])
        .await;
    let check = subject.check(&snapshot.id, &now).await;
    assert_eq!(check, SnapshotCheck::Usable);
    let mut vm = subject.restored_with(&snapshot, now).await;
    let command = "cat a.txt; cat built; cat dir/built; cat dir/kept.txt; cat dir/more.txt; test -e gone.txt || echo gone";
    assert_eq!(passes(vm.as_mut(), command).await, "newoldoldkeptmoregone\n");
    vm.destroy().await.expect("it is destroyed");
}

/// A snapshot that wrote over a source file, or removed one, is stale once that file changes, and only then.
pub async fn a_shadowed_source_file_that_changes_makes_a_snapshot_stale(subject: &Subject) {
    for write in ["echo mine > a.txt", "rm a.txt", "echo mine >> a.txt"] {
        let before = subject.source(&[("a.txt", "old"), ("b.txt", "b")]).await;
        let parent = leaves(subject.machine_with(before).await, write).await;
        let unrelated = subject.source(&[("a.txt", "old"), ("b.txt", "other")]).await;
        let child = leaves(
            subject.restored_with(&parent, unrelated.clone()).await,
            "echo more > more",
        )
        .await;
        let changed = subject.source(&[("a.txt", "new"), ("b.txt", "b")]).await;
        for snapshot in [&parent, &child] {
            let check = subject.check(&snapshot.id, &unrelated).await;
            assert_eq!(check, SnapshotCheck::Usable, "after {write}");
            let check = subject.check(&snapshot.id, &changed).await;
            assert!(
                matches!(&check, SnapshotCheck::Stale(why) if why.contains("a.txt")),
                "after {write}: {check:?}"
            );
        }
    }
}

/// A directory that a command removed and made again hides the source's: a file that the source gets there later is not
/// to appear among its own.
pub async fn replaced_directory_and_later_source_are_not_mixed(subject: &Subject) {
    let before = subject.source(&[("gen/theirs", "1"), ("other/file", "2")]).await;
    let command = "rm -rf gen && mkdir gen && echo mine > gen/mine";
    let snapshot = leaves(subject.machine_with(before).await, command).await;
    for (files, hidden) in [
        (
            &[("gen/theirs", "1"), ("gen/new", "3"), ("other/file", "2")],
            "gen",
        ),
        (
            &[("gen/theirs", "9"), ("other/more", "3"), ("other/file", "2")],
            "gen",
        ),
    ] {
        let now = subject.source(files).await;
        let check = subject.check(&snapshot.id, &now).await;
        assert!(
            matches!(&check, SnapshotCheck::Stale(why) if why.contains(hidden)),
            "{files:?}: {check:?}"
        );
    }
    let now = subject
        .source(&[("gen/theirs", "1"), ("other/file", "2"), ("other/new", "3")])
        .await;
    assert_eq!(subject.check(&snapshot.id, &now).await, SnapshotCheck::Usable);
}

/// Files that come, go, and change where no command wrote leave a snapshot usable; where one wrote they do not.
pub async fn source_paths_that_steps_did_not_touch_are_exchanged(subject: &Subject) {
    let before = subject
        .source(&[("keep/a", "a"), ("keep/b", "b"), ("go/c", "c"), ("top", "t")])
        .await;
    let parent = leaves(
        subject.machine_with(before).await,
        "echo made > keep/made; mkdir out",
    )
    .await;
    let now = subject
        .source(&[
            ("keep/a", "changed"),
            ("keep/new", "n"),
            ("more/d", "d"),
            ("top", "t"),
        ])
        .await;
    assert_eq!(subject.check(&parent.id, &now).await, SnapshotCheck::Usable);
    let vm = subject.restored_with(&parent, now).await;
    let seen = "cat keep/a keep/made keep/new more/d; test -e keep/b || test -e go || echo gone";
    assert_eq!(passes(vm.as_ref(), seen).await, "changedmade\nndgone\n");
    vm.destroy().await.expect("it is destroyed");
    for (files, named) in [
        (vec![("keep", "a file now"), ("go/c", "c"), ("top", "t")], "keep"),
        (
            vec![("keep/a", "a"), ("keep/made", "m"), ("go/c", "c"), ("top", "t")],
            "keep/made",
        ),
        (
            vec![("keep/a", "a"), ("out/x", "x"), ("go/c", "c"), ("top", "t")],
            "out",
        ),
    ] {
        let now = subject.source(&files).await;
        let check = subject.check(&parent.id, &now).await;
        assert!(
            matches!(&check, SnapshotCheck::Stale(why) if why.contains(named)),
            "{files:?}: {check:?}"
        );
    }
}
