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
