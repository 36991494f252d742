//! Secrets: given to a command, and to nothing else.

use super::Subject;
use super::subject::{meanwhile, passes, run, sh};
use crate::testing::footprint::processes_with;
use crate::{ExecRequest, SecretValue, Secrets};

/// Stands in no file and no process of this machine but where it was put.
fn marker() -> String {
    format!("marker-{}", uuid::Uuid::new_v4().simple())
}

fn given(command: &str, value: &str) -> ExecRequest {
    let secret = || SecretValue::new(value.as_bytes());
    ExecRequest {
        secrets: Secrets {
            env: [("HM_TOKEN".to_owned(), secret())].into(),
            files: [("key".to_owned(), secret()), ("deploy.pem".to_owned(), secret())].into(),
        },
        ..ExecRequest::shell(command)
    }
}

/// A secret is a variable or a file, as asked, and is gone with its command.
pub async fn a_secret_ends_with_its_command(subject: &Subject) {
    if !subject.backend.features().secrets {
        return;
    }
    let secret = marker();
    let mut vm = subject.machine().await;
    let mut request = given(
        "echo $HM_TOKEN; cat /run/secrets/key; cat /run/secrets/deploy.pem; echo made > made",
        &secret,
    );
    // A secret is over any other variable.
    request.env.insert("HM_TOKEN".into(), "another".into());
    let ran = run(vm.as_ref(), &request).await;
    assert_eq!(
        (ran.code(), ran.out()),
        (0, format!("{secret}\n{secret}{secret}"))
    );
    let look = "echo [$HM_TOKEN]; test -e /run/secrets/key || echo none; cat made";
    assert_eq!(passes(vm.as_ref(), look).await, "[]\nnone\nmade\n");
    let snapshot = vm.snapshot().await.expect("a snapshot");
    vm.destroy().await.expect("it is destroyed");
    let vm = subject.restored(&snapshot).await;
    assert_eq!(passes(vm.as_ref(), look).await, "[]\nnone\nmade\n");
    vm.destroy().await.expect("it is destroyed");
}

/// While a command has a secret, nobody finds it among the processes' arguments, and no other command has it.
pub async fn a_secret_is_in_no_argument(subject: &Subject) {
    if !subject.backend.features().secrets {
        return;
    }
    let secret = marker();
    let vm = subject.machine().await;
    let request = given("echo ready; sleep 5000", &secret);
    meanwhile(vm.as_ref(), &request, async {
        assert_eq!(processes_with(&secret), Vec::<u32>::new());
        let ran = sh(
            vm.as_ref(),
            "echo [$HM_TOKEN]; test -e /run/secrets/key || echo none",
        )
        .await;
        assert_eq!(ran.out(), "[]\nnone\n");
    })
    .await;
    vm.destroy().await.expect("it is destroyed");
}

/// Secret files lie on a tmpfs, are the command's alone, hold any bytes, and leave nothing in the machine's files.
pub async fn secret_files_are_the_commands_alone(subject: &Subject) {
    if !subject.backend.features().secrets {
        return;
    }
    let mut vm = subject.machine().await;
    let look = "cd /run/secrets; stat -c '%a %u %s' key; wc -c < key; grep -c '^tmpfs /run/secrets tmpfs\\| /run/secrets tmpfs ' /proc/mounts; ls -A";
    let mut request = given(look, "");
    let bytes: Vec<u8> = (0..=255).collect();
    request.secrets.files = [("key".to_owned(), SecretValue::new(bytes))].into();
    let ran = run(vm.as_ref(), &request).await;
    assert_eq!(ran.out().replace(' ', ""), "4000256\n256\n1\nkey\n", "{ran:?}");
    let snapshot = vm.snapshot().await.expect("a snapshot");
    vm.destroy().await.expect("it is destroyed");
    let vm = subject.restored(&snapshot).await;
    let left = sh(vm.as_ref(), "find /run/secrets -type f 2> /dev/null | wc -l").await;
    assert_eq!(left.out().trim(), "0");
    vm.destroy().await.expect("it is destroyed");
}
