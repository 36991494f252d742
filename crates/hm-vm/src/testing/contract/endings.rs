//! How commands and machines end.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Subject;
use super::subject::{passes, sh};
use crate::{ExecRequest, KillReason, OutputChunk};

/// Cancellation ends a command with all its processes, and the machine can be destroyed.
pub async fn cancellation_ends_the_command(subject: &Subject) {
    let vm = subject.machine().await;
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let cancel = CancellationToken::new();
    let request = ExecRequest::shell("echo ready; sleep 5000");
    let reader = async {
        assert!(chunks.recv().await.is_some());
        cancel.cancel();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, sender, cancel.clone()), reader);
    let outcome = outcome.expect("the command was run");
    assert_eq!(outcome.killed, Some(KillReason::Canceled));
    assert_ne!(outcome.status.code(), 0);
    vm.destroy().await.expect("it is destroyed");
}

/// When a command is over, its background processes are over too: those of its own session, those of
/// another one, and those that ignore what they are told.
pub async fn nothing_of_a_command_outlives_it(subject: &Subject) {
    let mut vm = subject.machine().await;
    let background = "(sleep 1; echo late > /tmp/late-1) & \
                      setsid sh -c 'sleep 1; echo late > /tmp/late-2' & \
                      (trap '' TERM HUP INT; sleep 1; echo late > /tmp/late-3) & \
                      nohup sh -c 'sleep 1; echo late > /tmp/late-4' > /dev/null 2>&1 & \
                      echo started";
    assert_eq!(passes(vm.as_mut(), background).await, "started\n");
    let ran = sh(vm.as_mut(), "sleep 2; ls /tmp | grep late").await;
    assert_eq!(ran.out(), "", "a background process went on");
    vm.destroy().await.expect("it is destroyed");
}

/// Dropping a machine, destroyed or not, leaves nothing that runs; the store stays readable.
pub async fn a_dropped_machine_leaves_nothing(subject: &Subject) {
    let mut vm = subject.machine().await;
    passes(vm.as_mut(), "echo x > file").await;
    drop(vm);
    subject.backend.reclaim().await.expect("leftovers are removed");
    let mut vm = subject.machine().await;
    assert_ne!(sh(vm.as_mut(), "test -e file").await.code(), 0);
    vm.destroy().await.expect("it is destroyed");
}
