//! Running commands.

use tokio::sync::mpsc;

use super::Subject;
use super::subject::{meanwhile, passes, run, sh};
use crate::{Cancel, ExecRequest, ImageReference, OutputChunk, VmError};

/// A command's exit code comes through, and so does the signal that killed it.
pub async fn exit_codes_and_signals_are_told(subject: &Subject) {
    let mut vm = subject.machine().await;
    for code in [0, 1, 3, 255] {
        let ran = sh(vm.as_mut(), &format!("exit {code}")).await;
        assert_eq!((ran.code(), ran.outcome.killed), (code, None));
    }
    let ran = sh(vm.as_mut(), "kill -9 $$").await;
    assert_eq!((ran.code(), ran.outcome.killed), (137, None));
    assert_eq!(sh(vm.as_mut(), "no-such-command-of-hm").await.code(), 127);
    vm.destroy().await.expect("it is destroyed");
}

/// Standard output and standard error come apart, each in order.
pub async fn streams_are_kept_apart(subject: &Subject) {
    let mut vm = subject.machine().await;
    let ran = sh(vm.as_mut(), "echo one; echo two >&2; echo three; printf four >&2").await;
    assert_eq!(ran.out(), "one\nthree\n");
    assert_eq!(ran.stderr, b"two\nfour");
    vm.destroy().await.expect("it is destroyed");
}

/// Variables and the working directory are as asked.
pub async fn environment_and_directory_are_given(subject: &Subject) {
    let mut vm = subject.machine().await;
    let mut request = ExecRequest::shell("pwd; echo \"$HM_CONTRACT\"");
    request
        .env
        .insert("HM_CONTRACT".into(), "two words; 'quoted'".into());
    let ran = run(vm.as_mut(), &request).await;
    assert_eq!(ran.out(), "/workspace\ntwo words; 'quoted'\n");
    request.cwd = "/tmp".into();
    assert!(run(vm.as_mut(), &request).await.out().starts_with("/tmp\n"));
    vm.destroy().await.expect("it is destroyed");
}

/// A command that reads standard input finds its end.
pub async fn standard_input_is_empty(subject: &Subject) {
    let mut vm = subject.machine().await;
    assert_eq!(passes(vm.as_mut(), "cat").await, "");
    vm.destroy().await.expect("it is destroyed");
}

/// A reader that dawdles gets every byte, lines or not.
pub async fn every_byte_arrives_through_a_slow_reader(subject: &Subject) {
    let lines: String = (1..=300_000).map(|n: u32| format!("{n}\n")).collect();
    for (command, expected) in [
        ("seq 300000", lines.into_bytes()),
        ("head -c 20000000 /dev/zero", vec![0; 20_000_000]),
    ] {
        let vm = subject.machine().await;
        let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
        let mut got = Vec::with_capacity(expected.len());
        let read = async {
            while let Some(chunk) = chunks.recv().await {
                got.extend_from_slice(&chunk.bytes);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let request = ExecRequest::shell(command);
        let (outcome, ()) = tokio::join!(vm.exec(&request, sender, Cancel::new()), read);
        assert_eq!(outcome.expect("the command runs").status.code(), 0);
        assert!(
            got == expected,
            "{command}: {} of {} bytes, or others",
            got.len(),
            expected.len()
        );
        vm.destroy().await.expect("it is destroyed");
    }
}

/// When nobody reads the output any more, the command ends.
pub async fn a_reader_that_goes_away_ends_the_command(subject: &Subject) {
    let vm = subject.machine().await;
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let request = ExecRequest::shell("head -c 50000000 /dev/zero; sleep 5000");
    let read = async {
        let first = chunks.recv().await;
        assert!(first.is_some_and(|chunk| !chunk.bytes.is_empty()));
        drop(chunks);
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, sender, Cancel::new()), read);
    assert_ne!(outcome.expect("the command runs").status.code(), 0);
    vm.destroy().await.expect("it is destroyed");
}

/// Machines run side by side and see nothing of each other.
pub async fn machines_run_at_once(subject: &Subject) {
    let machines = (0..8).map(|number| async move {
        let mut vm = subject.machine().await;
        let command = format!("echo {number} > /tmp/hm-contract; sleep 0.1; cat /tmp/hm-contract");
        let out = passes(vm.as_mut(), &command).await;
        vm.destroy().await.expect("it is destroyed");
        out
    });
    let outs = futures::future::join_all(machines).await;
    assert_eq!(
        outs,
        (0..8).map(|number| format!("{number}\n")).collect::<Vec<_>>()
    );
}

/// A machine runs several commands at once; each sees at once what another wrote, and ends by itself.
pub async fn a_machine_runs_several_commands_at_once(subject: &Subject) {
    let vm = subject.machine().await;
    let long = ExecRequest::shell("echo one > /tmp/one; echo ready; sleep 5000");
    let others = async {
        let outs = futures::future::join_all((0..4).map(|number| {
            let vm = vm.as_ref();
            async move { passes(vm, &format!("cat /tmp/one; echo {number} > made-{number}")).await }
        }));
        assert_eq!(outs.await, vec!["one\n"; 4]);
        assert_eq!(sh(vm.as_ref(), "exit 3").await.code(), 3);
    };
    meanwhile(vm.as_ref(), &long, others).await;
    let all = "cat made-0; cat made-1; cat made-2; cat made-3";
    assert_eq!(passes(vm.as_ref(), all).await, "0\n1\n2\n3\n");
    vm.destroy().await.expect("it is destroyed");
}

/// Commands of one machine talk to each other through its files: a pipe with a name is one pipe to both.
pub async fn commands_of_a_machine_share_a_pipe(subject: &Subject) {
    let vm = subject.machine().await;
    passes(vm.as_ref(), "mkfifo /tmp/pipe").await;
    let (read, write) = tokio::join!(
        passes(vm.as_ref(), "cat /tmp/pipe"),
        passes(vm.as_ref(), "echo through > /tmp/pipe")
    );
    assert_eq!((read.as_str(), write.as_str()), ("through\n", ""));
    vm.destroy().await.expect("it is destroyed");
}

/// An image that is not there is a clear error.
pub async fn an_unknown_image_is_not_found(subject: &Subject) {
    let unknown = ImageReference::new("/no/such/image/of/hm");
    let error = subject
        .backend
        .resolve(&unknown)
        .await
        .expect_err("it is not there");
    assert!(matches!(error, VmError::ImageNotFound { .. }), "{error:?}");
}
