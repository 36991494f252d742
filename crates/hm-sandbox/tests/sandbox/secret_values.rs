//! Secrets that a command is given: where their bytes are found, and where not.

use std::path::Path;

use hm_vm::testing::footprint::processes_with;
use hm_vm::{CacheMount, Cancel, ExecRequest, OutputChunk, SecretValue, VmBackend};
use tokio::sync::mpsc;

use super::persons::everyone;
use super::support::{World, run, said};

everyone![
    a_secret_is_found_nowhere,
    secrets_hold_any_bytes,
    what_cannot_be_given_is_an_error_without_the_value,
];

fn given(command: &str, value: &str) -> ExecRequest {
    let mut request = ExecRequest::shell(command);
    let secret = || SecretValue::new(value.as_bytes());
    request.secrets.env.insert("TOKEN".into(), secret());
    request.secrets.files.insert("key".into(), secret());
    request
}

async fn a_secret_is_found_nowhere(world: &World) {
    let secret = format!("value-{}", uuid::Uuid::new_v4().simple());
    let mut vm = world.machine().await;
    let mut request = given(
        "echo begun; cat /run/secrets/key > /dev/null; echo $TOKEN > /dev/null; sleep 86400",
        &secret,
    );
    request.caches = vec![CacheMount {
        name: "cache".into(),
        path: "/var/cache/here".into(),
        keep: hm_vm::CacheKeep::default(),
    }];
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let cancel = Cancel::new();
    let look = async {
        assert!(chunks.recv().await.is_some());
        assert_eq!(processes_with(&secret), Vec::<u32>::new());
        assert_eq!(found(&world.data, secret.as_bytes()), None);
        cancel.kill();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, output, cancel.clone()), look);
    assert!(outcome.unwrap().killed.is_some());
    request.argv[2] =
        "test -n \"$TOKEN\" && test -s /run/secrets/key && echo x > /var/cache/here/x && echo y > y".into();
    let ran = run(vm.as_ref(), &request).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    assert_eq!(found(&world.data, secret.as_bytes()), None);
    let debug = format!("{request:?}");
    assert!(!debug.contains(&secret), "{debug}");
    // The search finds what is there.
    let ran = world
        .sh(&format!(
            "echo {secret} > /workspace/leak; sleep 86400 & cat leak"
        ))
        .await;
    assert!(ran.out().contains(&secret));
    std::fs::write(world.data.join("sandbox/leak"), &secret).unwrap();
    assert!(found(&world.data, secret.as_bytes()).is_some());
    std::fs::remove_file(world.data.join("sandbox/leak")).unwrap();
}

/// A file below a directory with these bytes in it, or in its name.
fn found(directory: &Path, bytes: &[u8]) -> Option<std::path::PathBuf> {
    let has = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if has(path.as_os_str().as_encoded_bytes()) {
            return Some(path);
        }
        let Ok(kind) = entry.file_type() else { continue };
        let below = if kind.is_dir() {
            found(&path, bytes)
        } else if kind.is_file() && std::fs::read(&path).is_ok_and(|text| has(&text)) {
            Some(path)
        } else {
            None
        };
        if below.is_some() {
            return below;
        }
    }
    None
}

async fn secrets_hold_any_bytes(world: &World) {
    let long = vec![b'x'; 1 << 20];
    let mut request = ExecRequest::shell(
        "wc -c < /run/secrets/long; wc -c < /run/secrets/empty; printf %s \"$ODD\" | od -An -tx1; ls -A /run/secrets",
    );
    request
        .secrets
        .files
        .insert("long".into(), SecretValue::new(long));
    request
        .secrets
        .files
        .insert("empty".into(), SecretValue::new(Vec::new()));
    request
        .secrets
        .files
        .insert(".hidden name".into(), SecretValue::new("x"));
    request
        .secrets
        .env
        .insert("ODD".into(), SecretValue::new(vec![0xff, b'\n', b'=']));
    let ran = world.run(&request).await;
    assert_eq!(
        ran.out(),
        "1048576\n0\n ff 0a 3d\n.hidden name\nempty\nlong\n",
        "{}",
        said(&ran)
    );
    let request = given("echo x 2> /dev/null > /run/secrets/more || echo refused", "value");
    assert_eq!(world.run(&request).await.out(), "refused\n");
}

async fn what_cannot_be_given_is_an_error_without_the_value(world: &World) {
    let vm = world.machine().await;
    for (env, file) in [
        ("A=B", "key"),
        ("", "key"),
        ("TOKEN", "../key"),
        ("TOKEN", ""),
        ("ZERO", "key"),
    ] {
        let mut request = ExecRequest::shell("true");
        let value = if env == "ZERO" {
            "hidden\0value"
        } else {
            "hidden-value"
        };
        request.secrets.env.insert(env.into(), SecretValue::new(value));
        request.secrets.files.insert(file.into(), SecretValue::new(value));
        let (output, _chunks) = mpsc::channel::<OutputChunk>(4);
        let refused = vm.exec(&request, output, Cancel::new()).await.unwrap_err();
        let words = format!("{refused} {refused:?}");
        assert!(!words.contains("hidden"), "{words}");
    }
    // A step that made something else of the place is told.
    let ran = run(
        vm.as_ref(),
        &ExecRequest::shell("rm -r /run/secrets && ln -s /etc /run/secrets"),
    )
    .await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let ran = run(
        vm.as_ref(),
        &given("cat /run/secrets/key; ls -A /run/secrets/", "hidden-value"),
    )
    .await;
    assert_eq!(ran.out(), "hidden-valuekey\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
    assert_eq!(world.data.join("sandbox/live").read_dir().map_or(0, |_| 0), 0);
    let other = world.backend.cache_directories().await.unwrap();
    assert!(other.is_empty());
}
