//! The double keeps the contract, but for what needs real processes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::MemoryBackend;
use crate::testing::contract::{CASES, Subject, run};
use crate::{Cancel, ExecRequest, ImageReference, KillReason, OutputChunk, PodRequest, Vm, VmBackend};

/// Cases whose commands are more than the double understands.
const REAL: &[&str] = &[
    "nothing_of_a_command_outlives_it",
    "a_terminated_child_with_a_handler_has_its_grace",
    "commands_of_a_machine_share_a_pipe",
    "command_that_ended_before_its_cancel_has_passed",
    "disk_limit_holds_after_output_is_closed",
    "replaced_directory_and_later_source_are_not_mixed",
    "source_paths_that_steps_did_not_touch_are_exchanged",
    "a_command_runs_as_the_user_it_names",
    "an_unknown_user_is_refused",
    "secret_files_are_the_commands_alone",
    "links_are_not_followed_out",
    "strange_names_and_modes_are_copied_out",
];

#[tokio::test]
async fn the_double_keeps_the_contract() {
    let mut kept = 0;
    for (name, case) in CASES {
        if REAL.contains(name) {
            continue;
        }
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let subject = Subject::new(
            Arc::new(MemoryBackend::new()),
            ImageReference::new("host"),
            scratch.path(),
        )
        .with_server(
            |port| format!("hm-serve {port}"),
            |host, port| format!("hm-probe {port} {host}"),
        );
        run(name, *case, &subject).await;
        kept += 1;
    }
    assert_eq!(kept, CASES.len() - REAL.len());
}

async fn machine(backend: &MemoryBackend) -> Box<dyn Vm> {
    let image = backend
        .resolve(&ImageReference::new("host"))
        .await
        .expect("an image");
    backend.create(&image).await.expect("a machine")
}

async fn code(vm: &dyn Vm, request: &ExecRequest) -> i32 {
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let drain = async { while chunks.recv().await.is_some() {} };
    let (outcome, ()) = tokio::join!(vm.exec(request, output, Cancel::new()), drain);
    outcome.expect("it runs").status.code()
}

#[tokio::test]
async fn a_server_answers_in_its_pod_while_it_runs() {
    let backend = MemoryBackend::new();
    let request = PodRequest {
        hosts: vec!["db".into()],
        ..PodRequest::default()
    };
    let pod = backend.open_pod(&request).await.expect("a pod");
    assert_eq!(backend.pods(), [request]);
    let (server, client) = (machine(&backend).await, machine(&backend).await);
    let shell = |script: &str| ExecRequest {
        pod: Some(pod.clone()),
        ..ExecRequest::shell(script)
    };
    assert_eq!(code(client.as_ref(), &shell("hm-probe postgres")).await, 1);
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let stop = Cancel::new();
    let serve = shell("hm-serve postgres");
    let probe = async {
        assert!(
            chunks
                .recv()
                .await
                .is_some_and(|chunk| chunk.bytes == "postgres serves\n")
        );
        for (script, expected) in [
            ("hm-probe postgres", 0),
            ("hm-probe postgres db", 0),
            ("hm-probe postgres other", 1),
            ("hm-probe redis", 1),
        ] {
            assert_eq!(code(client.as_ref(), &shell(script)).await, expected, "{script}");
        }
        let outside = ExecRequest::shell("hm-probe postgres");
        assert_eq!(code(client.as_ref(), &outside).await, 1);
        stop.kill();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(server.exec(&serve, output, stop.clone()), probe);
    assert_eq!(outcome.expect("it ran").killed, Some(KillReason::Canceled));
    assert_eq!(code(client.as_ref(), &shell("hm-probe postgres")).await, 1);
    backend.close_pod(&pod).await.expect("it is closed");
    assert_eq!(
        (backend.counters().pods_open, backend.counters().pods_opened),
        (0, 1)
    );
}
