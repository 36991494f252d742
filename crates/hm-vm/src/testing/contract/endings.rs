//! How commands and machines end.

use tokio::sync::mpsc;

use super::Subject;
use super::subject::{passes, sh};
use crate::{Cancel, ExecOutcome, ExecRequest, KillReason, OutputChunk, Vm};

use std::time::Duration;

/// Cancellation ends a command with all its processes, and the machine can be destroyed.
pub async fn cancellation_ends_the_command(subject: &Subject) {
    let vm = subject.machine().await;
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let cancel = Cancel::new();
    let request = ExecRequest::shell("echo ready; sleep 5000");
    let reader = async {
        assert!(chunks.recv().await.is_some());
        cancel.kill();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, sender, cancel.clone()), reader);
    let outcome = outcome.expect("the command was run");
    assert_eq!(outcome.killed, Some(KillReason::Canceled));
    assert_ne!(outcome.status.code(), 0);
    vm.destroy().await.expect("it is destroyed");
}

/// Runs a command, and terminates it once it has written something. Tells how it ended, and what it wrote after that.
async fn terminated(vm: &dyn Vm, request: &ExecRequest) -> (ExecOutcome, String) {
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let cancel = Cancel::new();
    let mut written = Vec::new();
    let reader = async {
        assert!(chunks.recv().await.is_some());
        cancel.terminate();
        while let Some(chunk) = chunks.recv().await {
            written.extend_from_slice(&chunk.bytes);
        }
    };
    let (outcome, ()) = tokio::join!(vm.exec(request, sender, cancel.clone()), reader);
    let outcome = outcome.expect("the command was run");
    assert_eq!(outcome.killed, Some(KillReason::Canceled), "{outcome:?}");
    (outcome, String::from_utf8_lossy(&written).into_owned())
}

/// A command that handles no SIGTERM ends by it, long before its grace is over.
pub async fn a_terminated_command_without_a_handler_ends_at_once(subject: &Subject) {
    let vm = subject.machine().await;
    let mut request = ExecRequest::shell("echo ready; sleep 5000; echo never");
    request.grace = super::PATIENCE * 2;
    let (outcome, written) = terminated(vm.as_ref(), &request).await;
    assert_ne!(outcome.status.code(), 0);
    assert_eq!(written, "");
    vm.destroy().await.expect("it is destroyed");
}

/// A command that handles SIGTERM has its grace: what it says then is heard, and its exit ends it.
pub async fn a_terminated_command_has_its_grace(subject: &Subject) {
    if !subject.backend.features().terminates {
        return;
    }
    let vm = subject.machine().await;
    let script = if subject.is_memory() {
        "hm-trap 0.3 7; echo ready; sleep 5000"
    } else {
        "trap 'sleep 0.3; echo terminated; exit 7' TERM; sleep 5000 & sleep 0.2; echo ready; wait"
    };
    let (outcome, written) = terminated(vm.as_ref(), &ExecRequest::shell(script)).await;
    assert_eq!(outcome.status.code(), 7);
    assert_eq!(written, "terminated\n");
    vm.destroy().await.expect("it is destroyed");
}

/// SIGTERM goes to every process: a shell that does not handle it takes none of its children along that do.
pub async fn a_terminated_child_with_a_handler_has_its_grace(subject: &Subject) {
    if !subject.backend.features().terminates {
        return;
    }
    let vm = subject.machine().await;
    let child = "trap 'sleep 0.3; echo terminated; exit' TERM; sleep 5000 & sleep 0.2; echo ready; wait";
    let script = format!("(sh -c \"{child}\"; true); echo never");
    let (_, written) = terminated(vm.as_ref(), &ExecRequest::shell(script)).await;
    assert_eq!(written, "terminated\n");
    vm.destroy().await.expect("it is destroyed");
}

/// A command that handles SIGTERM and does not end is killed when its grace is over, and at once when it is to be killed.
pub async fn a_grace_ends(subject: &Subject) {
    let script = if subject.is_memory() {
        "hm-trap 5000; echo ready; sleep 5000"
    } else {
        "trap 'echo handled' TERM; echo ready; while :; do sleep 1; done"
    };
    let vm = subject.machine().await;
    let mut request = ExecRequest::shell(script);
    request.grace = Duration::from_millis(300);
    let (outcome, _) = terminated(vm.as_ref(), &request).await;
    assert_ne!(outcome.status.code(), 0);
    request.grace = super::PATIENCE * 2;
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let cancel = Cancel::new();
    let reader = async {
        assert!(chunks.recv().await.is_some());
        cancel.terminate();
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.kill();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, sender, cancel.clone()), reader);
    assert_eq!(outcome.expect("it ran").killed, Some(KillReason::Canceled));
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
