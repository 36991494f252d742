//! Taking snapshots and starting from them.

use super::Subject;
use super::subject::{leaves, passes, sh};
use crate::{SnapshotCheck, SnapshotId, VmError};
use hm_source::Source;

/// What a machine wrote is in its snapshot, wherever it was written.
pub async fn files_survive_a_snapshot(subject: &Subject) {
    let snapshot = leaves(subject.machine().await, "echo one > one; echo two > /tmp/two").await;
    assert_eq!(
        subject.check(&snapshot.id, &Source::empty()).await,
        SnapshotCheck::Usable
    );
    let mut vm = subject.restored(&snapshot).await;
    assert_eq!(passes(vm.as_mut(), "cat one; cat /tmp/two").await, "one\ntwo\n");
    vm.destroy().await.expect("it is destroyed");
    let usage = subject.backend.usage().await.expect("the store is measured");
    assert!(usage.snapshots >= 1, "{usage:?}");
}

/// Ten machines from one snapshot write the same file, and neither each other nor the snapshot notices.
pub async fn forks_are_independent(subject: &Subject) {
    let snapshot = leaves(subject.machine().await, "echo base > file").await;
    let mut forks = Vec::new();
    for _ in 0..10 {
        forks.push(subject.restored(&snapshot).await);
    }
    for (number, fork) in forks.iter_mut().enumerate() {
        passes(fork.as_mut(), &format!("echo {number} >> file")).await;
    }
    for (number, mut fork) in forks.into_iter().enumerate() {
        assert_eq!(
            passes(fork.as_mut(), "cat file").await,
            format!("base\n{number}\n")
        );
        fork.destroy().await.expect("it is destroyed");
    }
    let mut vm = subject.restored(&snapshot).await;
    assert_eq!(passes(vm.as_mut(), "cat file").await, "base\n");
    vm.destroy().await.expect("it is destroyed");
}

/// A machine can be used after its snapshot was taken; what it writes then is in the next one only.
pub async fn a_machine_goes_on_after_its_snapshot(subject: &Subject) {
    let mut vm = subject.machine().await;
    passes(vm.as_mut(), "echo before > before").await;
    let first = vm.snapshot().await.expect("a snapshot");
    passes(vm.as_mut(), "cat before; echo more >> before; echo after > after").await;
    let second = vm.snapshot().await.expect("a snapshot");
    vm.destroy().await.expect("it is destroyed");
    let mut vm = subject.restored(&first).await;
    assert_eq!(passes(vm.as_mut(), "cat before").await, "before\n");
    assert_ne!(sh(vm.as_mut(), "test -e after").await.code(), 0);
    vm.destroy().await.expect("it is destroyed");
    let mut vm = subject.restored(&second).await;
    assert_eq!(
        passes(vm.as_mut(), "cat before; cat after").await,
        "before\nmore\nafter\n"
    );
    vm.destroy().await.expect("it is destroyed");
}

/// A file that was removed above a snapshot does not come back.
pub async fn removed_files_stay_removed(subject: &Subject) {
    let first = leaves(subject.machine().await, "echo x > gone; echo y > kept").await;
    let second = leaves(subject.restored(&first).await, "rm gone").await;
    let mut vm = subject.restored(&second).await;
    assert_ne!(sh(vm.as_mut(), "test -e gone").await.code(), 0);
    assert_eq!(passes(vm.as_mut(), "cat kept").await, "y\n");
    vm.destroy().await.expect("it is destroyed");
}

/// A chain of snapshots may be as long as a plan.
pub async fn a_long_chain_of_snapshots_holds(subject: &Subject) {
    const LONG: usize = 150;
    let mut snapshot = leaves(subject.machine().await, "echo 0 > steps").await;
    for number in 1..LONG {
        let command = format!("echo {number} >> steps; echo {number} > file-{number}");
        snapshot = leaves(subject.restored(&snapshot).await, &command).await;
    }
    let mut vm = subject.restored(&snapshot).await;
    let steps: String = (0..LONG).map(|number| format!("{number}\n")).collect();
    assert_eq!(passes(vm.as_mut(), "cat steps").await, steps);
    assert_eq!(passes(vm.as_mut(), "cat file-1; cat file-149").await, "1\n149\n");
    vm.destroy().await.expect("it is destroyed");
}

/// A removed snapshot is missing, removing it again is no error, and what was built on it still works.
pub async fn a_removed_snapshot_is_gone_and_its_children_are_not(subject: &Subject) {
    let parent = leaves(subject.machine().await, "echo parent > parent").await;
    let child = leaves(subject.restored(&parent).await, "echo child > child").await;
    for _ in 0..2 {
        subject
            .backend
            .remove(&parent.id)
            .await
            .expect("removed, or gone before");
        assert_eq!(
            subject.check(&parent.id, &Source::empty()).await,
            SnapshotCheck::Missing
        );
    }
    let error = subject
        .backend
        .restore(&parent.id)
        .await
        .map(|_| ())
        .expect_err("it is gone");
    assert!(matches!(error, VmError::SnapshotNotFound(_)), "{error:?}");
    let mut vm = subject.restored(&child).await;
    assert_eq!(
        passes(vm.as_mut(), "cat parent; cat child").await,
        "parent\nchild\n"
    );
    vm.destroy().await.expect("it is destroyed");
    let unknown = SnapshotId("hm-contract-unknown".into());
    assert_eq!(
        subject.check(&unknown, &Source::empty()).await,
        SnapshotCheck::Missing
    );
}
