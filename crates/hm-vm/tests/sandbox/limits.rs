//! Limits of memory and of processes, where this machine has cgroups to keep them by.

use hm_vm::{ExecRequest, ExitStatus, KillReason};

use super::persons::{everyone, is_root};
use super::support::{World, run, said};

everyone![
    a_limit_is_kept_or_said_not_to_be,
    a_step_that_waited_for_its_network_ends_on_its_own
];

async fn a_limit_is_kept_or_said_not_to_be(world: &World) {
    let mut request = ExecRequest::shell("");
    let program = "data = b'x' * 400_000_000\nprint(len(data))";
    request.argv = ["/usr/bin/python3", "-I", "-c", program].map(Into::into).into();
    request.limits.memory = Some(100_000_000);
    let mut vm = world.machine().await;
    let ran = run(vm.as_mut(), &request).await;
    let told = ran
        .outcome
        .notes
        .iter()
        .any(|note| note.contains("memory limit is not enforced"));
    let killed = ran.outcome.killed == Some(KillReason::OutOfMemory);
    assert_ne!(killed, told, "{}", said(&ran));
    assert_eq!(
        killed,
        ran.outcome.status != ExitStatus::Code(0),
        "{}",
        said(&ran)
    );
    // The next step has the machine, and its limits, for itself.
    request.limits.memory = None;
    let ran = run(vm.as_mut(), &request).await;
    assert_eq!(
        (ran.out().as_str(), ran.outcome.killed),
        ("400000000\n", None),
        "{}",
        said(&ran)
    );
    assert!(ran.outcome.notes.is_empty(), "{:?}", ran.outcome.notes);
    vm.destroy().await.unwrap();
    if is_root() && std::path::Path::new("/sys/fs/cgroup").exists() {
        assert!(killed, "root has cgroups here");
    }
}

/// Two steps wait for a network; the first to get one runs on and on, and must not keep the other's output open.
async fn a_step_that_waited_for_its_network_ends_on_its_own(world: &World) {
    let cancel = tokio_util::sync::CancellationToken::new();
    let first = world.machine().await;
    let mut second = world.machine().await;
    let (sender, mut chunks) = tokio::sync::mpsc::channel(4);
    let forever = ExecRequest::shell("echo begun; sleep 86400");
    let short = async {
        let ran = run(second.as_mut(), &ExecRequest::shell("echo short")).await;
        assert!(chunks.recv().await.is_some(), "the other one runs");
        cancel.cancel();
        ran
    };
    let (outcome, ran) = tokio::join!(first.exec(&forever, sender, cancel.clone()), short);
    assert_eq!(outcome.unwrap().killed, Some(KillReason::Canceled));
    assert_eq!(ran.out(), "short\n");
    first.destroy().await.unwrap();
    second.destroy().await.unwrap();
}
