//! Limits, and ends that come late.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Subject;
use super::subject::run;
use crate::{Cancel, ExecRequest, KillReason, OutputChunk};

/// A command that closes its output is still held to its disk limit.
pub async fn disk_limit_holds_after_output_is_closed(subject: &Subject) {
    if !subject.backend.features().limits_disk {
        return;
    }
    let vm = subject.machine().await;
    let mut request = ExecRequest::shell(
        "exec > /dev/null 2>&1 < /dev/null; exec >&- 2>&-; dd if=/dev/zero of=big bs=1048576 count=60; sleep 5000",
    );
    request.limits.disk = Some(20 << 20);
    let ran = run(vm.as_ref(), &request).await;
    assert_eq!(ran.outcome.killed, Some(KillReason::DiskFull), "{ran:?}");
    vm.destroy().await.expect("it is destroyed");
}

/// A command that ended by itself while its caller was suspended was not ended by the cancel that comes after: it has
/// passed, and what it wrote arrives.
pub async fn command_that_ended_before_its_cancel_has_passed(subject: &Subject) {
    let vm = subject.machine().await;
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let cancel = Cancel::new();
    let request = ExecRequest::shell("echo ready; sleep 0.3; echo done");
    let mut exec = vm.exec(&request, sender, cancel.clone());
    let first = tokio::select! {
        biased;
        ended = &mut exec => panic!("it ended before it said anything: {ended:?}"),
        first = chunks.recv() => first,
    };
    let mut said = first.expect("it says something").bytes.to_vec();
    // Nobody looks at it meanwhile.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cancel.terminate();
    let drain = async {
        while let Some(chunk) = chunks.recv().await {
            said.extend_from_slice(&chunk.bytes);
        }
    };
    let (outcome, ()) = tokio::join!(exec, drain);
    let outcome = outcome.expect("it runs");
    assert_eq!((outcome.status.code(), outcome.killed), (0, None), "{outcome:?}");
    assert_eq!(String::from_utf8_lossy(&said), "ready\ndone\n");
    vm.destroy().await.expect("it is destroyed");
}
